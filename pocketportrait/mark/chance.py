"""How often chance alone fits so well: at a few places, and anywhere.

Deviations of an unmarked picture, over all places, scales and stretches, are a smooth random field. How
often such a field exceeds a high level is its mean Euler characteristic there (Adler, The Geometry of
Random Fields, 1981). Everything that may be looked at counts, so any search may choose among it.
"""

from __future__ import annotations

import math

import numpy as np

from pocketportrait.mark.pattern import HIGHEST, LOWEST
from pocketportrait.mark.reading import MOST_STRETCH
from pocketportrait.mark.search import LEAST_OVERLAP, SMALLEST_SHARE, WIDER

# How fast deviations change: root mean square for a shift by a tile; along one axis the waves of a ring
# have half of their squares. A scale moves pixels by their distance from the middle, 1 / sqrt(12) on average.
PER_SHIFT = 2 * math.pi * math.sqrt((LOWEST**2 + HIGHEST**2) / 4)
PER_SCALE = PER_SHIFT / math.sqrt(12)
FACES = (
    1.3  # what the edges of the volume add: where stretches end it is hardly thicker than a peak
)
_LOWEST_LEVEL = 5.0  # below, such fits are certain somewhere, and the formula is not meant for it


def _volume() -> float:
    """Return places in tiles, down and across, times logarithms of scale and stretch."""
    spans = np.geomspace(1 / WIDER, 1 / SMALLEST_SHARE, 2001)  # tiles a frame's side; a square one
    starts = spans + 1 - 2 * LEAST_OVERLAP * np.minimum(1, spans)
    return float(np.trapezoid(starts**2, np.log(spans))) * 2 * MOST_STRETCH


_PEAKS: float = FACES * _volume() * (PER_SHIFT * PER_SCALE) ** 2 / (2 * math.pi) ** 2.5


def chance_at(places: float, deviations: float) -> float:
    """Return the chance of such a fit at one of some places, 0..1."""
    return min(1.0, places * 0.5 * math.erfc(deviations / math.sqrt(2)))


def chance_anywhere(deviations: float) -> float:
    """Return the chance of such a fit at any place, scale and stretch, 0..1; an upper bound."""
    if deviations < _LOWEST_LEVEL:
        return 1.0
    rarity: float = math.exp(-(deviations**2) / 2)
    return min(1.0, _PEAKS * (deviations**3 - 3 * deviations) * rarity)
