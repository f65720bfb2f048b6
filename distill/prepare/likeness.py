"""Clips that show the same: a perceptual hash over frames, then whether they move alike.

The hash finds clips that look alike. A head that hardly moves looks alike at all times, and so does a
speaker who is filmed twice in one chair; a copy also *moves* alike. docs/prepare.md has the figures.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array

RATE_HZ = 5.0  # of hashes and of the course; a copy that was cut elsewhere is at most 0.1 s off
HASH_SIDE_PX = 32
COURSE_SIDE = 8  # brightness of 8x8 blocks over time is a clip's course
LEAST_COMMON = 3  # looks that two courses must share
_LOW = 8  # lowest frequencies a side: 64 bits


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a clip is compared by; T looks, `RATE_HZ` a second."""

    hashes: Array  # [T] uint64
    course: Array  # [T, 64] uint8

    @classmethod
    def of(cls, luma_NSS: Array, rate_hz: float) -> Likeness:
        """Look at a clip.

        Args:
            luma_NSS: brightness of every frame, S a multiple of 32.
            rate_hz: frames a second.

        """
        looks = luma_NSS[:: max(1, round(rate_hz / RATE_HZ))]
        hashes = np.array([frame_hash(look) for look in looks], np.uint64)
        course = _blocks(looks, COURSE_SIDE).reshape(len(looks), -1)
        return cls(hashes, course.round().astype(np.uint8))

    @classmethod
    def from_text(cls, text: str) -> Likeness:
        """Read what `to_text` wrote."""
        hashes, course = (base64.b64decode(part) for part in text.split(" "))
        courses = np.frombuffer(course, np.uint8).reshape(-1, COURSE_SIDE**2)
        return cls(np.frombuffer(hashes, "<u8").astype(np.uint64), courses)

    def to_text(self) -> str:
        """Return it as one line of ASCII."""
        parts = (self.hashes.astype("<u8").tobytes(), self.course.tobytes())
        return " ".join(base64.b64encode(part).decode() for part in parts)

    def moves_like(self, other: Likeness) -> float:
        """Return the largest correlation over time of the two courses, over all shifts, -1..1.

        Each block is compared about its own mean, so what stands still does not count; the two must
        share half of the shorter one.
        """
        mine, theirs = len(self.course), len(other.course)
        least = max(LEAST_COMMON, min(mine, theirs) // 2)
        best = -1.0
        for shift in range(least - mine, theirs - least + 1):
            start, other_start = max(0, -shift), max(0, shift)
            common = min(mine - start, theirs - other_start)
            a = _about_mean(self.course[start : start + common])
            b = _about_mean(other.course[other_start : other_start + common])
            scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
            best = max(best, float((a * b).sum()) / scale if scale else -1.0)
        return best


@dataclass(frozen=True, slots=True)
class Copy:
    """A clip that shows what another one shows."""

    index: int
    of: int
    bits: float  # mean over its looks of the distance to the nearest look of the other
    alike: float  # `Likeness.moves_like`


def frame_hash(luma_SS: Array) -> int:
    """Return the 64-bit DCT hash of one frame ("pHash": Zauner, 2010).

    Args:
        luma_SS: [S, S] brightness, S a multiple of 32.

    """
    small = _blocks(luma_SS[None], HASH_SIDE_PX)[0]
    low = (_BASIS @ small @ _BASIS.T).reshape(-1)
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def find_copies(
    clips: Sequence[Likeness], shots: Sequence[object], *, most_bits: float, least_alike: float
) -> list[Copy]:
    """Return the clips that repeat an earlier one that is kept.

    Time grows with the square of the number of clips.

    Args:
        clips: best clip first: of two that show the same, the earlier one is kept.
        shots: the shot of each clip; two clips of one shot never show the same moment.
        most_bits: the largest mean distance of hashes of a copy, of 64.
        least_alike: the smallest correlation over time of a copy.

    """
    copies = []
    kept: list[int] = []
    starts: list[int] = []  # where each kept clip's hashes begin in `pool`
    pool = np.empty(sum(len(clip.hashes) for clip in clips), np.uint64)
    used = 0
    for index, clip in enumerate(clips):
        others = []
        if kept:
            distance = np.bitwise_count(clip.hashes[:, None] ^ pool[None, :used])
            bits = np.minimum.reduceat(distance, starts, axis=1).mean(axis=0)
            near = np.flatnonzero(bits <= most_bits)
            others = [
                Copy(index, kept[k], float(bits[k]), clip.moves_like(clips[kept[k]]))
                for k in near
                if shots[kept[k]] != shots[index]
            ]
        best = max(others, key=lambda copy: copy.alike, default=None)
        if best is not None and best.alike >= least_alike:
            copies.append(best)
            continue
        kept.append(index)
        starts.append(used)
        pool[used : used + len(clip.hashes)] = clip.hashes
        used += len(clip.hashes)
    return copies


def _blocks(luma_NSS: Array, side: int) -> Array:
    """Average square blocks, [N, side, side]."""
    count, pixels = luma_NSS.shape[:2]
    block = pixels // side
    return np.asarray(luma_NSS.reshape(count, side, block, side, block).mean(axis=(2, 4)))


def _about_mean(course: Array) -> Array:
    course = course.astype(np.float64)
    return np.asarray(course - course.mean(axis=0))


def _dct_basis() -> Array:
    """Return the `_LOW` lowest rows of the orthonormal DCT-II matrix."""
    frequency = np.arange(_LOW)[:, None]
    place = np.arange(HASH_SIDE_PX)[None] + 0.5
    basis = np.cos(np.pi / HASH_SIDE_PX * frequency * place) * np.sqrt(2 / HASH_SIDE_PX)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)


_BASIS = _dct_basis()
