"""Weights as integers: rounding to the nearest step, one scale a tensor or a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.quantize.plan import Setting


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """Integers, and how they become numbers again: (values - zero_point) * scale along one axis."""

    values: Array  # int8 without a zero point, uint8 with one; of 4 bits -7..7 or 0..15
    scale: Array  # float32, one a channel or a scalar
    zero_point: Array | None


def quantize_weight(weight: Array, setting: Setting, axis: int = 0) -> PackedWeight:
    """Round a weight to 8 or 4 bits.

    Args:
        weight: float32 of any shape.
        setting: bits, granularity, and whether there is a zero point.
        axis: of the channels that have scales of their own.

    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    over = others if setting.granularity == "channel" else None
    # -128 (-8) is left out, so that a weight and its negative are equally far from zero
    most = 2 ** (setting.weight_bits - 1) - 1
    if setting.symmetric:
        largest = np.abs(weight).max(over, keepdims=True)
        scale = np.where(largest > 0, largest / most, 1).astype(np.float32)
        values = np.clip(np.rint(weight / scale), -most, most).astype(np.int8)
        return PackedWeight(values, _flat(scale, setting), None)
    low = np.minimum(weight.min(over, keepdims=True), 0)
    high = np.maximum(weight.max(over, keepdims=True), 0)
    steps = 2 * most + 1
    scale = np.where(high > low, (high - low) / steps, 1).astype(np.float32)
    zero = np.rint(-low / scale)
    values = np.clip(np.rint(weight / scale) + zero, 0, steps).astype(np.uint8)
    return PackedWeight(values, _flat(scale, setting), _flat(zero.astype(np.uint8), setting))


def _flat(value: Array, setting: Setting) -> Array:
    return value.reshape(()) if setting.granularity == "tensor" else value.reshape(-1)
