"""From the contract's tensors (NCHW, float32, 0..1) to those of one file, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pocketportrait.contract import Array, Layout, TensorSpec

TO_CHANNELS_LAST = (0, 2, 3, 1)
TO_CHANNELS_FIRST = (0, 3, 1, 2)


def plain_layout(shape: Sequence[int], four: Layout) -> Layout:
    """Return what a format calls a tensor of this shape when no manifest says it: `four` for 4 axes."""
    return four if len(shape) == 4 else "NC"


def convert(value: Array, source: TensorSpec, target: TensorSpec) -> Array:
    """Return `value` in the layout, range and type of `target`.

    A range is rescaled where both are bounded and differ: pixels 0..1 and 0..255.

    Args:
        value: as `source` describes it.
        source: what the value is.
        target: what is wanted of it.

    """
    if source.layout != target.layout:
        axes = TO_CHANNELS_LAST if target.layout == "NHWC" else TO_CHANNELS_FIRST
        value = value.transpose(axes)
    bounds = (source.low, source.high, target.low, target.high)
    if all(map(math.isfinite, bounds)) and bounds[:2] != bounds[2:]:
        scale = (target.high - target.low) / (source.high - source.low)
        value = (value.astype(np.float32) - source.low) * np.float32(scale) + target.low
    return np.ascontiguousarray(cast(value, target))


def cast(value: Array, target: TensorSpec) -> Array:
    """Return `value` in the type of `target`; integers are rounded to and kept inside its range."""
    dtype = np.dtype(target.dtype)
    if dtype.kind in "iu" and value.dtype.kind == "f":
        limits = np.iinfo(dtype)
        value = np.clip(np.rint(value), max(target.low, limits.min), min(target.high, limits.max))
    return value.astype(dtype, copy=False)
