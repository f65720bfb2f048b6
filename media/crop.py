"""The square that the student sees: the framing of its training pictures, found from a face box.

The framing is a contract. The training pictures have a side of 1.9 x the larger side of the box
around the face's landmarks, a centre 0.08 of that box's side above the box's centre, no rotation,
and they stay inside their source. docs/decisions/0003-face-crop.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.face import FaceBox
from pocketportrait.media.resample import resample

SIDE_PX = 256  # what the graphs take

# Framing, in sides of the landmark box.
SCALE = 1.9
LARGEST_SCALE = 3.2  # how far a moving head may enlarge the crop of a video
TIGHTEST_SCALE = 1.35  # how far a small picture may narrow it; 1 % of the clips are tighter
RAISE = 0.08  # how far the crop's centre stands above the face's
HEAD_MARGIN = 0.12  # what the training clips keep free around a moving head

# How far a crop may move to stay inside the picture, in its own sides; beyond that it looks over the
# border. 96 % of the training photos have the face within this of its place.
LARGEST_SHIFT = 0.08

# From CenterFace's box to the landmark box, in sides of CenterFace's: medians over 200 training
# photos of 256 px, residuals in the decision. Written by benchmarks/measure_crop.py.
LANDMARK_WIDTH = 0.993
LANDMARK_HEIGHT = 0.898
LANDMARK_RIGHT = -0.008
LANDMARK_DOWN = 0.058


@dataclass(frozen=True, slots=True)
class SquareCrop:
    """An upright square; source pixels from the top left, parts may lie outside the picture."""

    x: float
    y: float
    side: float


def landmark_box(face: FaceBox) -> FaceBox:
    """Return the box that the landmarks of this face would have."""
    x, y = face.center
    x += LANDMARK_RIGHT * face.width
    y += LANDMARK_DOWN * face.height
    half_width = LANDMARK_WIDTH * face.width / 2
    half_height = LANDMARK_HEIGHT * face.height / 2
    return FaceBox(x - half_width, y - half_height, x + half_width, y + half_height, face.score)


def crop_for_face(face: FaceBox, image_size: tuple[int, int]) -> SquareCrop:
    """Frame one face of a picture as the training photos are framed.

    Args:
        face: as the detector draws it.
        image_size: (width, height) of the picture.

    """
    return _frame(landmark_box(face), SCALE, image_size)


def median_crop(faces: Sequence[FaceBox], image_size: tuple[int, int]) -> SquareCrop:
    """Frame one head over time: the median face, enlarged so that the moving head stays inside.

    Args:
        faces: one box for each frame that was looked at, as the detector draws them.
        image_size: (width, height) of the frames.

    Raises:
        InputError: there is no box.

    """
    if not faces:
        raise InputError("want at least one face to frame, got none; give a crop instead")
    boxes = [landmark_box(face) for face in faces]
    edges = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    left, top, right, bottom = (float(edge) for edge in np.median(edges, axis=0))
    median = FaceBox(left, top, right, bottom)
    # 2 % at each end are left out: one false face must not enlarge the crop of a whole film.
    low = np.percentile(edges[:, :2], 2, axis=0)
    high = np.percentile(edges[:, 2:], 98, axis=0)
    face_side = _larger_side(median)
    center = np.array(_raised_center(median))
    reach = float(np.max([center - low, high - center])) / face_side + HEAD_MARGIN
    return _frame(median, float(np.clip(2 * reach, SCALE, LARGEST_SCALE)), image_size)


def ready_crop(image_size: tuple[int, int]) -> SquareCrop:
    """Return the largest centred square: for pictures that are cropped already."""
    width, height = image_size
    side = min(width, height)
    return SquareCrop((width - side) / 2, (height - side) / 2, side)


def cut(image: Array, crop: SquareCrop, side: int = SIDE_PX) -> Array:
    """Cut a square and resize it: area averages down, bicubic up, borders repeated outside.

    Args:
        image: uint8 [H, W, 3].
        crop: what to cut.
        side: pixels of the result.

    Returns:
        uint8 [side, side, 3].

    """
    box = (crop.x, crop.y, crop.x + crop.side, crop.y + crop.side)
    return resample(image, box, (side, side))


def _frame(box: FaceBox, scale: float, image_size: tuple[int, int]) -> SquareCrop:
    face_side = _larger_side(box)
    side = min(scale * face_side, max(min(image_size), TIGHTEST_SCALE * face_side))
    x, y = _raised_center(box)
    return SquareCrop(
        _moved_inside(x - side / 2, side, image_size[0]),
        _moved_inside(y - side / 2, side, image_size[1]),
        side,
    )


def _moved_inside(start: float, side: float, length: int) -> float:
    inside = min(max(start, 0.0), length - side) if side <= length else (length - side) / 2
    shift = LARGEST_SHIFT * side
    return start + min(max(inside - start, -shift), shift)


def _larger_side(box: FaceBox) -> float:
    return max(box.width, box.height)


def _raised_center(box: FaceBox) -> tuple[float, float]:
    x, y = box.center
    return x, y - RAISE * _larger_side(box)
