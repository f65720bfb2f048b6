"""How strongly a picture is marked: more where texture hides it. numpy; `export/marked.py` is its twin.

    marked = picture + field * min(FLAT + GAIN * activity, MOST)

`activity` is the mean distance of pixels to their neighbourhood's mean, smooth over 8 px. As the field's
root mean square is 1, `MOST` bounds what the mark costs: 20 log10(255 / MOST) dB and no less.
"""

from __future__ import annotations

import numpy as np

from pocketportrait.contract import Array

FLAT_LEVELS = 0.7  # root mean square on flat skin or sky, in levels of 255: below what is seen
MOST_LEVELS = 1.95  # 42.3 dB at worst
GAIN = 0.6
NEAR_PX, SMOOTH_PX = 4, 8
LEVELS = 255.0


def mark_picture(picture: Array, field: Array) -> Array:
    """Mark one picture as the render graph does.

    Args:
        picture: uint8 [H, W, 3], H and W multiples of 8.
        field: [H, W], from `pattern.field_of_side`.

    Returns:
        uint8 [H, W, 3].

    """
    values = picture.astype(np.float32)
    near = _enlarged(_pooled(values, NEAR_PX), NEAR_PX)
    activity = _enlarged(_pooled(np.abs(values - near), SMOOTH_PX), SMOOTH_PX)
    strength = np.minimum(FLAT_LEVELS + GAIN * activity, MOST_LEVELS)
    marked = values + field[..., None] * strength
    return np.asarray(np.clip(np.rint(marked), 0, LEVELS), np.uint8)


def _pooled(values: Array, size: int) -> Array:
    height, width, channels = values.shape
    cells = values.reshape(height // size, size, width // size, size, channels)
    return np.asarray(cells.mean((1, 3)))


def _enlarged(values: Array, times: int) -> Array:
    rows, columns = (_bilinear(n, times) for n in values.shape[:2])
    return np.asarray(np.einsum("ab,bcd,ec->aed", rows, values, columns, optimize=True))


def _bilinear(count: int, times: int) -> Array:
    """Return [count * times, count]: how each fine sample mixes two coarse ones; centres align."""
    at = np.clip((np.arange(count * times) + 0.5) / times - 0.5, 0, count - 1)
    distance = np.abs(at[:, None] - np.arange(count)[None, :])
    return np.asarray(np.maximum(0, 1 - distance), np.float32)
