"""Weights and inputs from a closed formula, so that a network can be proven without its checkpoint.

An element is a hash of its name and its place (crc32, then SplitMix64), spread over [-1, 1) and scaled
to keep activations in range. Reference implementations filled with the same numbers gave the golden
outputs in `assets/teachers`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.models.teachers.checkpoint import Network, load_strictly

_CHUNK = 1 << 22  # elements at a time: 32 MiB an intermediate


def uniform(name: str, count: int) -> Array:
    """Return `count` float64 numbers in [-1, 1) that are exact in float32."""
    values = np.empty(count)
    for start in range(0, count, _CHUNK):
        values[start : start + _CHUNK] = _hashed(name, start, min(count, start + _CHUNK))
    return values


def formula_input(name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Return the float32 input `name`, evenly spread over low..high."""
    values = (uniform(f"input:{name}", math.prod(shape)) + 1) / 2 * (high - low) + low
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def smoothed(picture_BCHW: Tensor) -> Tensor:
    """Return the mean of a picture and of its 8x8 blocks, so that it has large shapes too."""
    blocks = torch.nn.functional.avg_pool2d(picture_BCHW, 8)
    coarse = torch.nn.functional.interpolate(blocks, scale_factor=8, mode="nearest")
    return 0.5 * coarse + 0.5 * picture_BCHW


def formula_weights(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a whole state dict by the formula; of `like` only names, shapes and types count."""
    return {key: _weight(key, value, like) for key, value in like.items()}


def formula_network(
    build: Callable[[], Network],
    device: str = "cpu",
    *,
    state: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = formula_weights,
) -> Network:
    """Return a network with the formula's weights.

    Args:
        build: makes it.
        device: where it shall be.
        state: gives the weights; other than `formula_weights` where some follow another rule.

    """
    with torch.device("meta"):
        like = build().state_dict()
    return load_strictly(build, state(like), build.__name__).to(device)


def _weight(key: str, like: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    parent, _, leaf = key.rpartition(".")
    shape, count = tuple(like.shape), like.numel()
    if leaf in ("num_batches_tracked", "running_mean"):
        return torch.zeros(shape, dtype=like.dtype)
    if leaf == "running_var":
        return torch.ones(shape)
    if leaf in ("weight_u", "weight_v"):
        values = _unit(key, count)
    elif leaf in ("gamma", "beta") and shape[:3] == (1, 1, 1):
        values = 0.1 * uniform(key, count)
    elif len(shape) < 2:
        values = 1 + 0.1 * uniform(key, count) if leaf == "weight" else 0.05 * uniform(key, count)
    else:
        gain = 2 if len(shape) >= 4 else 1
        fan_in = count // shape[0]
        values = uniform(key, count) * math.sqrt(3 * gain / fan_in)
        if leaf == "weight_orig":
            left = _unit(f"{parent}.weight_u", shape[0])
            right = _unit(f"{parent}.weight_v", fan_in)
            assert f"{parent}.weight_u" in state
            rounded = values.astype(np.float32).astype(np.float64)
            values = rounded + 2 * np.outer(left, right).ravel()
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def _unit(name: str, count: int) -> Array:
    values = uniform(name, count)
    unit: Array = values / np.linalg.norm(values)
    return unit


def _hashed(name: str, start: int, stop: int) -> Array:
    seed = (zlib.crc32(name.encode()) * 0x9E3779B1) % 2**64
    z = np.arange(start + 1, stop + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)  # unsigned arithmetic wraps, as the formula wants
    z += np.uint64(seed)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1
