"""Reading the mark where it should lie: every wave's size and phase at one scale and place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.pattern import HIGHEST, TILE_PX, Waves
from pocketportrait.mark.white import box_sum, divided

MOST_STRETCH = 0.02  # of one axis against the other, natural logarithm; chance is counted within
REACH = 2  # waves around one that say how strong the picture is there
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies: pixels of the residual; scales are its pixels for one of the tile."""

    top: float
    left: float
    scale_down: float
    scale_across: float


def read_waves(residual: Array, waves: Waves, place: Place) -> Array:
    """Return each wave turned back by the key's phase, complex [N].

    Where the mark is, real parts are positive (or negative, if a message's bit says so); with any other
    key, phases are even. Sizes are about 1: the spectrum is made white.
    """
    height, width = residual.shape
    y = (np.arange(height) + 0.5 - place.top) / place.scale_down - 0.5  # pixels of the tile
    x = (np.arange(width) + 0.5 - place.left) / place.scale_across - 0.5
    inside_y, inside_x = ((v >= -0.5) & (v <= TILE_PX - 0.5) for v in (y, x))
    left, right = _turns(y[inside_y]).T, _turns(x[inside_x])[:, HIGHEST:]
    part = residual[np.ix_(inside_y, inside_x)]
    # the cheaper order: the real residual with the shorter side first
    plane = left @ (part @ right.real + 1j * (part @ right.imag))
    at = waves.down + HIGHEST, waves.across
    return divided(plane[at], _level(plane, at)) * np.exp(-1j * waves.phase)


def deviations_of(read: Array) -> float:
    """Return by how many standard deviations of other keys the read waves agree with this one's."""
    return float(read.real.sum() / np.sqrt((np.abs(read) ** 2).sum() / 2 + _TINY))


def refine(residual: Array, waves: Waves, place: Place) -> tuple[Place, float]:
    """Move a place until the beacon fits no better; return it and its deviations."""
    chosen = waves.is_beacon

    def fit(at: Place) -> float:
        return deviations_of(read_waves(residual, waves, at)[chosen])

    best = fit(place)
    stretch, shift = 0.008, 1.5 * place.scale_down
    for _ in range(5):
        improved = True
        while improved:
            improved = False
            for moved in _moves(place, stretch, shift):
                deviations = fit(moved) if _stretch(moved) <= MOST_STRETCH else -math.inf
                if deviations > best:
                    best, place, improved = deviations, moved, True
        stretch, shift = stretch / 2, shift / 2
    return place, best


def _turns(at: Array) -> Array:
    """Return exp(-2 pi i k at / tile) for whole k from -HIGHEST to HIGHEST, complex64 [N, k]."""
    one = np.exp(-2j * np.pi / TILE_PX * at)
    powers = np.cumprod(np.broadcast_to(one[:, None], (len(at), HIGHEST)), axis=1)
    return np.concatenate(
        [powers[:, ::-1].conj(), np.ones((len(at), 1)), powers], axis=1, dtype=np.complex64
    )


def _level(plane: Array, at: tuple[Array, Array]) -> Array:
    """Return the root mean square around each wave, of those of the ring alone."""
    used = np.zeros(plane.shape)
    used[at] = 1
    power = used * np.abs(plane) ** 2
    count, total = (box_sum(np.pad(v, REACH), REACH)[at] for v in (used, power))
    return np.sqrt(np.maximum(total, 0) / count)


def _stretch(place: Place) -> float:
    return abs(math.log(place.scale_down / place.scale_across))


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
