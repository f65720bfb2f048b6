"""LivePortrait's framing: upright squares from 203 face points, and the way back into the photo.

Points are [203, 2] in pixels (x, y), in the order of the landmark network that LivePortrait uses; who
finds them is not part of this package. A `TurnedSquare` may be rotated in the plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import limit_side

NUM_POINTS = 203
LONGEST_PHOTO_PX = 1280
CROP_PX = 512  # cut from the photo, and what the generator paints
PHOTO_SCALE, PHOTO_DOWN = 2.3, -0.125  # side in face boxes; shift along the face in sides
DRIVER_SCALE, DRIVER_DOWN = 2.2, -0.1
FEATHER = 0.12  # soft border of the pasted square, as a part of its side

_LEFT_EYE, _RIGHT_EYE = (0, 6, 12, 18), (24, 30, 36, 42)
_MOUTH = (48, 66)
_LIPS = (90, 102)  # upper and lower, in the middle


@dataclass(frozen=True, slots=True)
class TurnedSquare:
    """A square in pixels of the picture; `angle` turns its right edge from x towards y, in radians."""

    x: float  # of the centre
    y: float
    side: float
    angle: float = 0.0

    def to_picture(self, unit: Array) -> Array:
        """Return pixels [.., 2] of places in the square, -0.5..0.5 in x and y."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        turned: Array = unit @ turn * self.side + (self.x, self.y)
        return turned

    def to_square(self, pixels: Array) -> Array:
        """Return places in the square, -0.5..0.5 in x and y, of pixels [.., 2]."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        back = np.array([[cosine, -sine], [sine, cosine]])
        unit: Array = (pixels - (self.x, self.y)) @ back / self.side
        return unit


def limit_photo(photo: Array) -> Array:
    """Return a photo of at most 1280 px and with even sides, as the crop of stills wants it."""
    photo = limit_side(photo, LONGEST_PHOTO_PX)
    height, width = photo.shape[:2]
    return photo[: height - height % 2, : width - width % 2]


def photo_square(points: Array) -> TurnedSquare:
    """Return the square of a photo, turned so that the face stands upright in it."""
    return _framed(points, PHOTO_SCALE, PHOTO_DOWN, upright=True)


def driver_square(frames: Sequence[Array]) -> TurnedSquare:
    """Return one square for a whole clip: the mean of its frames' squares, none of them turned."""
    if not frames:
        raise InputError("want the points of at least one driving frame, got none")
    squares = [_framed(points, DRIVER_SCALE, DRIVER_DOWN, upright=False) for points in frames]
    x, y, side = np.mean([(one.x, one.y, one.side) for one in squares], axis=0)
    return TurnedSquare(float(x), float(y), float(side))


def lip_ratio(points: Array) -> float:
    """Return how open the mouth is: the lips' distance over the mouth's width."""
    _check(points)
    return _distance(points, *_LIPS) / _distance(points, *_MOUTH)


def eye_ratios(points: Array) -> tuple[float, float]:
    """Return how open the two eyes are: height over width."""
    _check(points)
    return (
        _distance(points, 6, 18) / _distance(points, 0, 12),
        _distance(points, 30, 42) / _distance(points, 24, 36),
    )


def cut_square(picture: Array, square: TurnedSquare, side_px: int = CROP_PX) -> Array:
    """Return uint8 [side_px, side_px, 3]: bilinear, black outside the picture."""
    center = (np.arange(side_px) + 0.5) / side_px - 0.5
    unit = np.stack(np.broadcast_arrays(center[None, :], center[:, None]), -1)
    return _round(_bilinear(picture, square.to_picture(unit) - 0.5))


def paste_square(photo: Array, square: TurnedSquare, picture: Array) -> Array:
    """Return a copy of the photo with `picture` where `square` was, under a mask with soft borders."""
    side_px = picture.shape[0]
    corners = square.to_picture(np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]))
    height, width = photo.shape[:2]
    x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int), (width, height))
    out = photo.copy()
    if x0 >= x1 or y0 >= y1:
        return out
    center = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
    unit = square.to_square(np.stack(center, -1))
    depth = np.clip((0.5 - np.abs(unit).max(-1, keepdims=True)) / FEATHER, 0, 1)
    mask = depth * depth * (3 - 2 * depth)
    new = _bilinear(picture, np.clip((unit + 0.5) * side_px - 0.5, 0, side_px - 1))
    out[y0:y1, x0:x1] = _round(photo[y0:y1, x0:x1] * (1 - mask) + new * mask)
    return out


def _framed(points: Array, scale: float, down: float, *, upright: bool) -> TurnedSquare:
    """Frame the points' box along the face's own axes, or along the picture's."""
    _check(points)
    eyes = (points[list(_LEFT_EYE)].mean(0) + points[list(_RIGHT_EYE)].mean(0)) / 2
    downward = points[list(_MOUTH)].mean(0) - eyes
    length = float(np.linalg.norm(downward))
    if not length > 0:
        raise InputError("want eyes above a mouth, got both at one point; look at the landmarks")
    axis_y = downward / length if upright else np.array([0.0, 1.0])
    axes = np.stack([(axis_y[1], -axis_y[0]), axis_y])  # rows: the face's right and its down
    along = points @ axes.T
    low, high = along.min(0), along.max(0)
    side = float((high - low).max()) * scale
    x, y = ((low + high) / 2) @ axes + axis_y * down * side
    return TurnedSquare(float(x), float(y), side, math.atan2(axes[0, 1], axes[0, 0]))


def _check(points: Array) -> None:
    if points.shape != (NUM_POINTS, 2) or not np.isfinite(points).all():
        raise InputError(
            f"want {NUM_POINTS} finite face points [{NUM_POINTS}, 2], got {list(points.shape)}"
        )


def _distance(points: Array, one: int, other: int) -> float:
    return float(np.linalg.norm(points[one] - points[other]))


def _bilinear(picture: Array, places: Array) -> Array:
    """Return float64 [.., 3] at places [.., 2], where pixel centres are whole numbers; black outside."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0))).astype(np.float64)
    height, width = picture.shape[:2]
    x = np.clip(places[..., 0] + 1, 0, width + 1)
    y = np.clip(places[..., 1] + 1, 0, height + 1)
    left, top = np.minimum(x.astype(int), width), np.minimum(y.astype(int), height)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = padded[top, left] * (1 - right_share) + padded[top, left + 1] * right_share
    lower = padded[top + 1, left] * (1 - right_share) + padded[top + 1, left + 1] * right_share
    mixed: Array = upper * (1 - low_share) + lower * low_share
    return mixed


def _round(values: Array) -> Array:
    return np.floor(values + 0.5).astype(np.uint8)
