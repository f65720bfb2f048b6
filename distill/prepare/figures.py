"""The figures by which a clip is judged, each from its cropped frames and the place of the face.

Shape suffixes: N frames, S pixels of a side.
"""

from __future__ import annotations

import numpy as np

from pocketportrait.contract import Array

SHARP_FRAMES = 12  # frames in which sharpness is measured
MOTION_FRAMES = 24  # frames between which motion is measured
MOTION_SIDE_PX = 64  # averaging to this side leaves motion and removes the noise of a codec
TEXT_RATE_HZ = 4.0  # looks at the overlay; three looks, half a second, must agree on a stroke
TEXT_LOOKS = 3
STROKE_LEVELS = 60  # brightness over two pixels, below which an edge is no stroke of a subtitle
BAND_PX = 5  # letters are at least this high

Region = tuple[float, float, float, float]  # left, top, right, bottom in 0..1 of the crop


def luma(frames_NSS3: Array) -> Array:
    """Return the brightness of uint8 RGB frames, float32 [N, S, S] in 0..255."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(frames_NSS3.astype(np.float32) @ weights)


def evenly(count: int, most: int) -> Array:
    """Return at most `most` of `count` indices, evenly spread, ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def sharpness(luma_NSS: Array, face: Region) -> float:
    """Return the median over frames of the variance of the Laplacian inside the face, levels^2.

    The measure is that of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy"
    (2000). It falls both with blur and with enlargement of a face that is small in its source.
    """
    chosen = luma_NSS[evenly(len(luma_NSS), SHARP_FRAMES)]
    inside = _inside(chosen, face)
    middle = inside[:, 1:-1, 1:-1]
    around = inside[:, :-2, 1:-1] + inside[:, 2:, 1:-1] + inside[:, 1:-1, :-2] + inside[:, 1:-1, 2:]
    return float(np.median((around - 4 * middle).var(axis=(1, 2))))


def motion(luma_NSS: Array, face: Region) -> float:
    """Return how much the most moving hundredth of the face changes over time, levels.

    It is the 99th percentile over the face of the standard deviation over time, so a mouth that
    alone moves counts, and the noise of a codec does not.
    """
    chosen = luma_NSS[evenly(len(luma_NSS), MOTION_FRAMES)]
    return float(np.percentile(_inside(_shrunk(chosen), face).std(axis=0), 99))


def text_strokes(luma_NSS: Array, face: Region, rate_hz: float) -> float:
    """Return the most strokes of standing text that one line in the columns of the face crosses.

    A stroke is an edge that stays at its pixel for half a second while the head behind it moves;
    along a line of text bright and dark edges alternate. Lines are averaged over `BAND_PX` rows.

    Args:
        luma_NSS: every frame of the clip.
        face: the face; rows above it are not looked at.
        rate_hz: frames a second.

    """
    step = max(1, round(rate_hz / TEXT_RATE_HZ))
    looks = luma_NSS[::step]
    if len(looks) < TEXT_LOOKS:
        looks = luma_NSS[evenly(len(luma_NSS), TEXT_LOOKS)]
    region = (face[0], face[1], face[2], 1.0)
    looks = _inside(looks, region)
    slope = looks[:, :, 2:] - looks[:, :, :-2]
    most = 0.0
    for window in (
        slope[start : start + TEXT_LOOKS] for start in range(len(slope) - TEXT_LOOKS + 1)
    ):
        rising = (window >= STROKE_LEVELS).all(axis=0)
        falling = (window <= -STROKE_LEVELS).all(axis=0)
        most = max(most, _busiest_band(np.subtract(rising, falling, dtype=np.int8)))
    return most


def _busiest_band(edges: Array) -> float:
    """Return the mean number of sign changes a row in the band of rows that has most.

    Args:
        edges: 1 where brightness rises, -1 where it falls, 0 elsewhere; [rows, columns].

    """
    changes = np.array([_alternations(row) for row in edges], np.float32)
    if len(changes) < BAND_PX:
        return 0.0
    return float(np.convolve(changes, np.full(BAND_PX, 1 / BAND_PX), "valid").max())


def _alternations(row: Array) -> int:
    signs = row[row != 0]
    return int(np.count_nonzero(signs[1:] != signs[:-1]))


def _inside(luma_NSS: Array, region: Region) -> Array:
    side = luma_NSS.shape[-1]
    left, top, right, bottom = (round(min(max(edge, 0.0), 1.0) * side) for edge in region)
    left, top = min(left, side - 4), min(top, side - 4)
    return luma_NSS[:, top : max(bottom, top + 4), left : max(right, left + 4)]


def _shrunk(luma_NSS: Array) -> Array:
    """Average blocks of pixels to `MOTION_SIDE_PX`."""
    count, side = luma_NSS.shape[:2]
    block = side // MOTION_SIDE_PX
    blocks = luma_NSS.reshape(count, MOTION_SIDE_PX, block, MOTION_SIDE_PX, block)
    return np.asarray(blocks.mean(axis=(2, 4)))
