"""Finding the mark: at which scale and place does the beacon fit best, and how surely.

The residual's spectrum, made white, is cut to some seventy sizes; cutting a spectrum is resampling. At
each, one product with the spectrum of the beacon's coarser waves gives its correlation at every place.
Divided by what the picture would give other keys there, that is a number of standard deviations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.pattern import LOWEST, TILE_PX, beacon
from pocketportrait.mark.reading import Place
from pocketportrait.mark.white import whitened

COARSE = 50  # waves a tile; the coarsest alone drown in what some pictures hold (decision 0009)
SAMPLES = 108  # of a tile's side here: two a wave and a few to spare
STEP = 1.02  # between scales that are tried: the nearest is a percent off, which costs a fifth
SMOOTH = 1.006  # a scale may move by this much to a size that is transformed fast
LEAST_OVERLAP = 0.4  # of tile and frame, along each axis
SMALLEST_SCALE = 0.45  # there the mark's finest waves are as fine as pixels
SMALLEST_SHARE = 0.2  # of the frame's longer side that a tile covers
WIDER = 1.6  # tiles may be this much wider than a frame that was cropped
SURE = 12.0  # no better fit is looked for
NEIGHBOURS = 2  # waves of the frame around one that say how strong the picture is there
# of the plane of frequencies that the beacon's coarser waves fill
_FILLED = math.pi * (COARSE**2 - LOWEST**2) / SAMPLES**2


@dataclass(frozen=True, slots=True)
class Fit:
    """The best place, and by how many standard deviations of other keys it stands out."""

    place: Place
    deviations: float


class Search:
    """One residual, in which any number of keys can be looked for."""

    def __init__(self, residual: Array) -> None:
        """Make its spectrum white; it is padded, so that tiles may reach beyond the frame."""
        longest = max(residual.shape)
        self._padded = 2 * math.ceil(WIDER * longest / 2)
        spectrum = np.fft.rfft2(residual, s=(self._padded, self._padded))
        white = whitened(spectrum, round(NEIGHBOURS * self._padded / longest))
        self._spectrum = np.fft.fftshift(white, axes=0)
        self._shape = residual.shape
        self._grids = list(_grids(self._padded, residual.shape))
        self._scales: dict[int, _Scale] = {}

    def best(self, key: bytes) -> Fit:
        """Return the best fit of a key over all scales and places."""
        best = Fit(Place(0, 0, 1, 1), 0.0)
        for grid in self._grids:
            if grid not in self._scales:
                self._scales[grid] = _Scale.of(self._spectrum, self._shape, grid)
            fit = self._scales[grid].best(key)
            if fit.deviations > best.deviations:
                best = fit
            if best.deviations > SURE:
                break
        return best


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """The residual at one scale: its spectrum, where a tile may begin, what chance gives there."""

    cut: Array  # complex64 [grid, grid // 2 + 1]
    tops: _Starts
    lefts: _Starts
    inverse: Array  # of a correlation's standard deviation over keys; 0 where no tile begins
    sample_px: float

    @classmethod
    def of(cls, spectrum: Array, shape: tuple[int, ...], grid: int) -> _Scale:
        """Cut a white spectrum, rows shifted, to what a grid of samples holds of the ring."""
        padded = len(spectrum)
        reach = min(grid, padded) // 2 - 1
        rows, columns = np.arange(-reach, reach + 1), np.arange(reach + 1)
        waves_a_tile = np.hypot(rows[:, None], columns[None, :]) * (SAMPLES / grid)
        ring = (waves_a_tile >= LOWEST - 1) & (waves_a_tile <= COARSE + 1)
        cut = np.zeros((grid, grid // 2 + 1), np.complex64)
        cut[rows % grid, : reach + 1] = spectrum[rows + padded // 2, : reach + 1] * ring
        sample_px = padded / grid
        tops, lefts = (_starts(grid, sample_px, side) for side in shape[:2])
        energy = _tile_sums(np.fft.irfft2(cut, s=(grid, grid)) ** 2)
        inverse = np.sqrt(_FILLED / np.maximum(energy, energy.max() * 1e-6 + 1e-30))
        inverse *= np.outer(tops.enough, lefts.enough)
        return cls(cut, tops, lefts, inverse.astype(np.float32), sample_px)

    def best(self, key: bytes) -> Fit:
        """Return the best fit of a key at this scale."""
        grid = len(self.cut)
        scores = np.fft.irfft2(self.cut * _beacon_spectrum(key, grid), s=(grid, grid))
        scores *= self.inverse
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        scale = self.sample_px * SAMPLES / TILE_PX
        place = Place(float(self.tops.px[row]), float(self.lefts.px[column]), scale, scale)
        return Fit(place, float(scores[row, column]))


def _grids(padded: int, shape: tuple[int, ...]) -> Iterator[int]:
    """Yield how many samples of the tile span the padded side; likely ones first."""
    longest, shortest = max(shape), min(shape)
    smallest = max(SMALLEST_SCALE, SMALLEST_SHARE * longest / TILE_PX) * TILE_PX / SAMPLES
    grids = []
    grid = SAMPLES
    while padded / grid >= smallest:
        grids.append(_fast(grid))
        grid = max(grid + 1, round(grid * STEP))
    whole = padded * SAMPLES / shortest  # a tile as large as the frame
    yield from sorted(dict.fromkeys(grids), key=lambda g: abs(math.log(g / whole)))


def _fast(grid: int) -> int:
    """Return a size close by whose Fourier transform is fast, if there is one."""
    return min(range(grid, int(grid * SMOOTH) + 1), key=_largest_factor)


def _largest_factor(number: int) -> int:
    largest = 1
    for factor in (2, 3, 5, 7, 11):
        while number % factor == 0:
            number, largest = number // factor, factor
    return max(largest, number)


@functools.lru_cache(maxsize=10_000)  # a hundred keys at every scale of one frame size
def _beacon_spectrum(key: bytes, grid: int) -> Array:
    return np.conj(np.fft.rfft2(_coarse_beacon(key), s=(grid, grid)))


@functools.lru_cache(maxsize=128)
def _coarse_beacon(key: bytes) -> Array:
    return beacon(key, SAMPLES, COARSE)


def _tile_sums(energy: Array) -> Array:
    """Return the sum over the tile that begins at each place of the ring of places."""
    wide = np.pad(energy, ((0, SAMPLES), (0, SAMPLES)), mode="wrap").astype(np.float64)
    down = np.pad(wide, ((1, 0), (0, 0))).cumsum(0)
    across = np.pad(down[SAMPLES:] - down[:-SAMPLES], ((0, 0), (1, 0))).cumsum(1)
    sums = across[:, SAMPLES:] - across[:, :-SAMPLES]
    return np.asarray(sums[: len(energy), : len(energy)])


@dataclass(frozen=True, slots=True, eq=False)
class _Starts:
    """Where tiles may begin along one axis, [grid] each."""

    px: Array
    enough: Array  # whether tile and frame share enough


def _starts(grid: int, sample_px: float, side: int) -> _Starts:
    tile, padded = SAMPLES * sample_px, grid * sample_px
    first = np.arange(grid) * sample_px
    both = np.stack([first, first - padded])  # the ring closes after `padded` pixels
    overlaps = np.minimum(both + tile, side) - np.maximum(both, 0)
    nearer = overlaps.argmax(0), np.arange(grid)
    return _Starts(both[nearer], overlaps[nearer] >= LEAST_OVERLAP * min(tile, side))
