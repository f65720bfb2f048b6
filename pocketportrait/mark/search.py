"""Finding the mark: at which scale and place does the beacon fit best, and how surely.

The residual's spectrum, every wave brought to size 1 (phase correlation), is cut to a hundred sizes;
cutting a spectrum is resampling. At each, one product with the beacon's spectrum gives its correlation
at every place. The best fit is then refined on waves read at its exact scale.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.pattern import HIGHEST, LOWEST, TILE_PX, Waves, beacon, waves_of

STEP = 1.012  # between scales that are tried; the finest waves shift by half a radian at the edges
SMOOTH = 1.004  # a scale may move by this much to a size that is transformed fast
LEAST_OVERLAP = 0.4  # of tile and frame, along each axis
SMALLEST_SCALE = 0.45  # there the finest waves are as fine as pixels
SMALLEST_SHARE = 0.2  # of the frame's longer side that a tile covers
WIDER = 1.6  # tiles may be this much wider than a frame that was cropped
SURE = 20.0  # no better fit is looked for
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies: pixels of the residual; scales are its pixels for one of the tile."""

    top: float
    left: float
    scale_down: float
    scale_across: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The best place, and how far it stands out from all others, in standard deviations."""

    place: Place
    deviations: float


def search(residual: Array, key: bytes) -> Fit:
    """Return the coarse best fit over all scales and places."""
    longest = max(residual.shape)
    padded = 2 * math.ceil(WIDER * longest / 2)
    spectrum = np.fft.fftshift(np.fft.rfft2(residual, s=(padded, padded)), axes=0)
    size = np.abs(spectrum)
    spectrum = spectrum / (size + np.float32(_TINY) * size.max() + np.float32(_TINY))
    best = Fit(Place(0, 0, 1, 1), 0.0)
    for grid in _grids(padded, longest, min(residual.shape)):
        scale = padded / (2 * grid)
        tops, lefts = (_starts(grid, padded, TILE_PX * scale, side) for side in residual.shape)
        scores = _correlation(spectrum, key, grid)[np.ix_(tops.at, lefts.at)]
        # chance grows with what tile and frame share
        scores = scores / np.sqrt(np.outer(tops.overlap, lefts.overlap))
        deviations = float(scores.max() / (scores.std() + _TINY))
        if deviations > best.deviations:
            row, column = np.unravel_index(int(scores.argmax()), scores.shape)
            place = Place(float(tops.px[row]), float(lefts.px[column]), scale, scale)
            best = Fit(place, deviations)
        if best.deviations > SURE:
            break
    return best


def _grids(padded: int, longest: int, shortest: int) -> Iterator[int]:
    """Yield how many samples, two pixels of the tile apart, span the padded side; likely ones first."""
    smallest = max(SMALLEST_SCALE, SMALLEST_SHARE * longest / TILE_PX)
    grids = []
    grid = TILE_PX // 2
    while padded / (2 * grid) >= smallest:
        grids.append(_fast(grid))
        grid = max(grid + 1, round(grid * STEP))
    whole = padded / (2 * shortest / TILE_PX)  # a tile as large as the frame
    yield from sorted(grids, key=lambda g: abs(math.log(g / whole)))


def _fast(grid: int) -> int:
    """Return a size close by whose Fourier transform is fast, if there is one."""
    return min(range(grid, int(grid * SMOOTH) + 1), key=_largest_factor)


def _largest_factor(number: int) -> int:
    largest = 1
    for factor in (2, 3, 5, 7, 11):
        while number % factor == 0:
            number, largest = number // factor, factor
    return max(largest, number)


def _correlation(spectrum: Array, key: bytes, grid: int) -> Array:
    padded = len(spectrum)
    reach = min(grid // 2, padded // 2) - 1
    rows, columns = np.arange(-reach, reach + 1), np.arange(reach + 1)
    cut = np.zeros((grid, grid // 2 + 1), np.complex64)
    waves_a_tile = np.hypot(rows[:, None], columns[None, :]) * (TILE_PX / (2 * grid))
    ring = (waves_a_tile >= LOWEST - 1) & (waves_a_tile <= HIGHEST + 1)
    cut[rows % grid, : reach + 1] = spectrum[rows + padded // 2, : reach + 1] * ring
    return np.asarray(np.fft.irfft2(cut * _beacon_spectrum(key, grid), s=(grid, grid)))


@functools.lru_cache(maxsize=160)
def _beacon_spectrum(key: bytes, grid: int) -> Array:
    return np.conj(np.fft.rfft2(beacon(key, TILE_PX // 2), s=(grid, grid)))


@dataclass(frozen=True, slots=True, eq=False)
class _Starts:
    """Where a tile may begin along one axis, [N] each."""

    at: Array  # index in the ring of places
    px: Array
    overlap: Array  # pixels that tile and frame share


def _starts(grid: int, padded: int, tile: float, side: int) -> _Starts:
    first = np.arange(grid) * (padded / grid)
    both = np.stack([first, first - padded])  # the ring closes after `padded` pixels
    overlaps = np.minimum(both + tile, side) - np.maximum(both, 0)
    nearer = overlaps.argmax(0)
    at = np.arange(grid)
    overlap = overlaps[nearer, at]
    enough = overlap >= LEAST_OVERLAP * min(tile, side)
    return _Starts(at[enough], both[nearer, at][enough], overlap[enough].astype(np.float32))


def refine(residual: Array, key: bytes, fit: Fit) -> Fit:
    """Return the fit of beacon waves read at the exact scale and place, moved until none is better."""
    waves = waves_of(key)
    chosen = waves.is_beacon
    only = Waves(*(getattr(waves, n)[chosen] for n in ("down", "across", "phase", "bit")))
    place = fit.place
    best = _deviations(residual, only, place)
    stretch, shift = 0.006, place.scale_down
    for _ in range(5):
        improved = True
        while improved:
            improved = False
            for moved in _moves(place, stretch, shift):
                deviations = _deviations(residual, only, moved)
                if deviations > best:
                    best, place, improved = deviations, moved, True
        stretch, shift = stretch / 2, shift / 2
    return Fit(place, best)


def read_waves(residual: Array, waves: Waves, place: Place) -> Array:
    """Return how well each wave's phase agrees where the mark should be, [N], -1..1."""
    height, width = residual.shape
    rows, columns = np.arange(height), np.arange(width)
    y = (rows + 0.5 - place.top) / place.scale_down - 0.5  # pixels of the tile
    x = (columns + 0.5 - place.left) / place.scale_across - 0.5
    inside_y, inside_x = ((v >= -0.5) & (v <= TILE_PX - 0.5) for v in (y, x))
    down, at_down = np.unique(waves.down, return_inverse=True)
    across, at_across = np.unique(waves.across, return_inverse=True)
    turn = -2j * np.pi / TILE_PX
    left = np.exp(turn * np.outer(down, y[inside_y])).astype(np.complex64)
    right = np.exp(turn * np.outer(x[inside_x], across)).astype(np.complex64)
    part = residual[np.ix_(inside_y, inside_x)]
    # the cheaper order: the real residual with the shorter side first
    found = (left @ (part @ right))[at_down, at_across]
    agreement = found * np.exp(-1j * waves.phase)
    return np.asarray(agreement.real / (np.abs(found) + _TINY))


def _deviations(residual: Array, waves: Waves, place: Place) -> float:
    agreement = read_waves(residual, waves, place)
    return float(agreement.sum() / np.sqrt(len(agreement) / 2))


def _moves(place: Place, stretch: float, shift: float) -> Iterator[Place]:
    top, left, down, across = place.top, place.left, place.scale_down, place.scale_across
    for sign in (1, -1):
        by = sign * stretch
        half_y, half_x = TILE_PX / 2 * down * by, TILE_PX / 2 * across * by
        yield Place(top - half_y, left - half_x, down * (1 + by), across * (1 + by))
        yield Place(top - half_y, left, down * (1 + by), across)
        yield Place(top, left - half_x, down, across * (1 + by))
        yield Place(top + sign * shift, left, down, across)
        yield Place(top, left + sign * shift, down, across)
