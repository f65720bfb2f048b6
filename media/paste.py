"""Putting an animated 256 picture back into the photo that it was cut from."""

from __future__ import annotations

import functools
import math

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.media.crop import SquareCrop
from pocketportrait.media.resample import resample

FEATHER = 0.12  # width of the soft border as a part of the crop's side


def paste(photo: Array, crop: SquareCrop, picture: Array) -> Array:
    """Return a copy of the photo with `picture` where `crop` was, under a soft mask.

    The mask falls to zero at the crop's border, so that no seam shows, except along borders of the
    photo itself, where there is nothing to blend with. Pixels outside the crop are untouched.

    Args:
        photo: uint8 [H, W, 3].
        crop: where the picture was cut; the parts outside the photo are dropped.
        picture: uint8 [side, side, 3].

    """
    height, width = photo.shape[:2]
    x0, x1 = max(0, math.floor(crop.x)), min(width, math.ceil(crop.x + crop.side))
    y0, y1 = max(0, math.floor(crop.y)), min(height, math.ceil(crop.y + crop.side))
    out = photo.copy()
    if x0 >= x1 or y0 >= y1:
        return out
    scale = picture.shape[0] / crop.side
    box = (
        (x0 - crop.x) * scale,
        (y0 - crop.y) * scale,
        (x1 - crop.x) * scale,
        (y1 - crop.y) * scale,
    )
    new = resample(picture, box, (x1 - x0, y1 - y0)).astype(np.float32)
    old = photo[y0:y1, x0:x1].astype(np.float32)
    mask_x = _ramp(crop.x, crop.side, width)[x0:x1]
    mask_y = _ramp(crop.y, crop.side, height)[y0:y1]
    mask = (mask_y[:, None] * mask_x[None, :])[..., None]
    out[y0:y1, x0:x1] = np.floor(old + (new - old) * mask + 0.5).astype(np.uint8)
    return out


@functools.lru_cache(maxsize=8)
def _ramp(start: float, side: float, length: int) -> Array:
    """Return the mask along one axis of the photo: 0 outside the crop, 1 well inside."""
    center = np.arange(length) + 0.5
    distance_low = np.inf if start <= 0 else center - start
    distance_high = np.inf if start + side >= length else start + side - center
    depth = np.clip(np.minimum(distance_low, distance_high) / (FEATHER * side), 0.0, 1.0)
    smooth = depth * depth * (3.0 - 2.0 * depth)
    return np.broadcast_to(np.asarray(smooth, np.float32), (length,))
