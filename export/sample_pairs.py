"""Golden pairs from the shipped samples: real photos and real frames, the same for everybody."""

from __future__ import annotations

import itertools

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.export.golden import Pair
from pocketportrait.media.crop import cut, ready_crop
from pocketportrait.media.photo import read_photo
from pocketportrait.media.samples import sample_drivers, sample_photos
from pocketportrait.media.video import VideoReader

FRAME_STEP = 35  # the clips open with a neutral face; these frames smile, blink and turn


def sample_pairs(count: int, side: int, *, one_photo: bool = False) -> list[Pair]:
    """Return `count` different pairs of a photo and a driving frame, [side, side, 3] float32 0..1.

    With `one_photo` all pairs share the first photo, whose golden features are then stored once.
    """
    photos = itertools.cycle(sample_photos()[: 1 if one_photo else None])
    drivers = itertools.cycle(sample_drivers())
    pairs = []
    for number, photo, driver in zip(range(count), photos, drivers, strict=False):
        frame = _frame(VideoReader(driver), FRAME_STEP * (1 + number // 2 % 2))
        pairs.append((_unit(read_photo(photo), side), _unit(frame, side)))
    return pairs


def _frame(reader: VideoReader, index: int) -> Array:
    return next(f.rgb for f in reader.frames(every=index) if f.index == index)


def _unit(picture: Array, side: int) -> Array:
    height, width = picture.shape[:2]
    return cut(picture, ready_crop((width, height)), side).astype(np.float32) / np.float32(255)
