"""One resampler for every crop: area averages when it shrinks, bicubic when it enlarges."""

from __future__ import annotations

import itertools
import math

import numpy as np
from PIL import Image

from pocketportrait.contract import Array

_BICUBIC_REACH_PX = 3  # source pixels a bicubic kernel sees beyond the box, rounded up


def resample(image: Array, box: tuple[float, float, float, float], size: tuple[int, int]) -> Array:
    """Return the part of `image` inside `box`, resized to `size`.

    Args:
        image: uint8 [H, W, 3].
        box: (left, top, right, bottom) in source pixels, fractions allowed; what lies outside the
            image repeats its border.
        size: (width, height) of the result.

    Returns:
        uint8 [height, width, 3].

    """
    left, top, right, bottom = box
    width, height = size
    if right - left < width or bottom - top < height:
        return _enlarge(image, box, size)
    # The rows first: they are contiguous, so the large pass is the fast one.
    rows = _average_rows(image, top, bottom, height)
    both = _average_rows(np.ascontiguousarray(rows.swapaxes(0, 1)), left, right, width)
    return np.floor(both.swapaxes(0, 1) + 0.5).astype(np.uint8)


def _average_rows(image: Array, start: float, stop: float, count: int) -> Array:
    """Average `count` equal bands of rows; a row that a band covers in part weighs that part."""
    last = image.shape[0] - 1
    edges = np.linspace(start, stop, count + 1)
    out = np.empty((count, *image.shape[1:]), np.float32)
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        rows = np.arange(math.floor(low), max(math.ceil(high), math.floor(low) + 1))
        weight = np.minimum(rows + 1, high) - np.maximum(rows, low)
        band = image[np.clip(rows, 0, last)].reshape(len(rows), -1).astype(np.float32)
        mean = (weight / weight.sum()).astype(np.float32) @ band
        out[index] = mean.reshape(image.shape[1:])
    return out


def _enlarge(image: Array, box: tuple[float, float, float, float], size: tuple[int, int]) -> Array:
    left, top, right, bottom = box
    x0, y0 = math.floor(left) - _BICUBIC_REACH_PX, math.floor(top) - _BICUBIC_REACH_PX
    x1, y1 = math.ceil(right) + _BICUBIC_REACH_PX, math.ceil(bottom) + _BICUBIC_REACH_PX
    rows = np.clip(np.arange(y0, y1), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x0, x1), 0, image.shape[1] - 1)
    region = Image.fromarray(np.ascontiguousarray(image[rows][:, columns]))
    inner = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(region.resize(size, Image.Resampling.BICUBIC, box=inner))
