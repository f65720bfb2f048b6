"""The squares that X-NeMo's motion encoder looks at: they follow the face, but not its size.

A square is 1.1 x the larger side of the box around the face's landmarks. Its side is that of the first
frame; its centre is smoothed over time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import SquareCrop, cut, landmark_box
from pocketportrait.media.detector import FaceDetector

SCALE = 1.1  # of the landmark box's larger side
SMOOTHING_FRAMES = 5.0  # standard deviation
_REACH = 4  # standard deviations that the smoothing looks to each side


def face_crops(pictures: Sequence[Array], detector: FaceDetector, side_px: int) -> list[Array]:
    """Return the face of every picture, uint8 [side, side, 3].

    Args:
        pictures: uint8 [H, W, 3], in the order of time.
        detector: finds faces; the largest one counts.
        side_px: of the result.

    Raises:
        InputError: there is no face in the first picture.

    """
    squares = face_squares([_largest(picture, detector) for picture in pictures])
    return [cut(one, square, side_px) for one, square in zip(pictures, squares, strict=True)]


def face_squares(boxes: Sequence[tuple[float, float, float] | None]) -> list[SquareCrop]:
    """Return a square for each frame.

    Args:
        boxes: centre x, centre y and side of the face; None where none was found: such a frame
            takes the place of the one before.

    Raises:
        InputError: the first is None.

    """
    if not boxes:
        return []
    first = boxes[0]
    if first is None:
        raise InputError("frame 0: want a face, got none; leave out frames before the face appears")
    places: list[tuple[float, float]] = []
    for box in boxes:
        places.append(box[:2] if box is not None else places[-1])
    centres = smoothed_places(np.array(places), SMOOTHING_FRAMES)
    side = SCALE * first[2]
    return [SquareCrop(float(x) - side / 2, float(y) - side / 2, side) for x, y in centres]


def smoothed_places(places: Array, sigma: float) -> Array:
    """Return [frames, 2], each the mean of those around it; the ends are mirrored."""
    reach = math.ceil(_REACH * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(places, ((reach, reach), (0, 0)), mode="symmetric")
    columns = [np.convolve(column, weights / weights.sum(), mode="valid") for column in padded.T]
    return np.stack(columns, 1)


def _largest(picture: Array, detector: FaceDetector) -> tuple[float, float, float] | None:
    faces = detector.detect(picture)
    if not faces:
        return None
    box = landmark_box(faces[0])
    return *box.center, max(box.width, box.height)
