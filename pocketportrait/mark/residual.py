"""What is left of frames when their content is taken away: where a weak constant pattern shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

MOST_SIDE_PX = 1024  # larger frames are averaged down by a whole factor
REACH_PX = 4
FLOOR_LEVELS = 0.5  # so that flat places, where only rounding is left, do not shout
_LEAST = np.float32(0.05)  # of the contrast of one frame
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # BT.601; the mark is grey


def residual_of(frames: Iterable[Array]) -> tuple[Array, int]:
    """Average what frames have in common that is no content.

    Every frame's luma loses its local mean and is divided by its local contrast, so that edges count no
    more than skin.

    Args:
        frames: uint8 [H, W, 3] of one size.

    Returns:
        float32 [h, w], and the whole factor by which frames were reduced.

    Raises:
        InputError: no frame, sizes that differ, or a side below 32 px.

    """
    total: Array | None = None
    factor, count = 1, 0
    for frame in frames:
        factor = -(-max(frame.shape[:2]) // MOST_SIDE_PX)
        one = _whitened(_reduced(frame.astype(np.float32) @ _LUMA, factor))
        if total is not None and one.shape != total.shape:
            raise InputError("frames: want one size, got several; give one clip")
        total = one if total is None else total + one
        count += 1
    if total is None:
        raise InputError("frames: want at least one, got none")
    mean = total / np.float32(count)
    # where things move, less is left: without this, still places would decide alone
    return mean / (np.sqrt(np.maximum(_local_mean(mean * mean), 0)) + _LEAST), factor


def _reduced(luma: Array, factor: int) -> Array:
    height, width = (n // factor * factor for n in luma.shape)
    if min(height, width) < 32 * factor:
        raise InputError(
            f"frames: want sides of at least 32 px, got {luma.shape[1]}x{luma.shape[0]}"
        )
    cells = luma[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(cells.mean((1, 3), dtype=np.float32))


def _whitened(luma: Array) -> Array:
    difference = luma - _local_mean(luma)
    contrast = np.sqrt(np.maximum(_local_mean(difference * difference), 0))
    return np.asarray(difference / (contrast + FLOOR_LEVELS), np.float32)


def _local_mean(values: Array) -> Array:
    size = 2 * REACH_PX + 1
    wide = np.pad(values, ((REACH_PX + 1, REACH_PX),) * 2, mode="edge")
    total = wide.cumsum(0, dtype=np.float64).cumsum(1)
    boxes = total[size:, size:] - total[:-size, size:] - total[size:, :-size]
    return np.asarray((boxes + total[:-size, :-size]) / size**2, np.float32)
