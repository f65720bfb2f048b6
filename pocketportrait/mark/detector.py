"""Does this picture or clip carry the mark, and whose is it? Without the original."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.chance import chance_anywhere, chance_at
from pocketportrait.mark.code import CODED_BITS, decode, encode
from pocketportrait.mark.pattern import PUBLIC_KEY, TILE_PX, waves_of
from pocketportrait.mark.reading import Place, deviations_of, read_waves, refine
from pocketportrait.mark.residual import residual_of
from pocketportrait.mark.search import Search

# A mark is found where chance alone would fit so well in one of a million unmarked clips.
MOST_CHANCE = 1e-6
LOOKS = 2  # at whole frames, then anywhere: each may use half of the chance
TILES_A_SIDE = (1, 2)
GATE = 5.5  # deviations of the coarse search from which a place is looked at closely
# How much the likeliest message has to stand out; the likeliest of 2**72 does by 9.7 from noise.
MESSAGE_THRESHOLD = 12.0


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found; `bundle_id` is None where no mark is, or its message cannot be read."""

    found: bool
    deviations: float  # how far the beacon stands out from chance, in standard deviations
    chance: float  # of such a fit anywhere in an unmarked clip, 0..1; an upper bound
    bundle_id: int | None
    tile_px: float  # width of the mark's tile in pixels of the frame
    top_px: float
    left_px: float

    @property
    def confidence(self) -> float:
        """Return 1 less the chance, 0..1."""
        return 1.0 - self.chance


def detect(frames: Iterable[Array], key: bytes = PUBLIC_KEY) -> Detection:
    """Look for the mark of a key in frames of one clip, or in one picture.

    Args:
        frames: uint8 [H, W, 3] of one size; a dozen, spread over two seconds, say nearly all.
        key: the public one, or the private one that was given at export.

    Raises:
        InputError: no frames, sizes that differ, or too small ones.

    """
    residual, factor = residual_of(frames)
    return Detector(residual, factor).detect(key)


class Detector:
    """What `residual_of` gave, in which any number of keys can be looked for."""

    def __init__(self, residual: Array, factor: int = 1) -> None:
        """Keep it; `factor` is by how much frames were reduced."""
        self._residual, self._factor = residual, factor
        self._search: Search | None = None

    def detect(self, key: bytes = PUBLIC_KEY) -> Detection:
        """Look first where nothing was cut, then everywhere."""
        best = min((self._whole(key, n) for n in TILES_A_SIDE), key=lambda d: d.chance)
        if best.found:
            return best
        return min(best, self._anywhere(key), key=lambda d: d.chance)

    def _whole(self, key: bytes, tiles: int) -> Detection:
        height, width = (n / tiles / TILE_PX for n in self._residual.shape)
        place = Place(0, 0, height, width)
        read = read_waves(self._residual, waves_of(key), place)
        deviations = deviations_of(read[waves_of(key).is_beacon])
        return self._detection(key, place, deviations, chance_at(len(TILES_A_SIDE), deviations))

    def _anywhere(self, key: bytes) -> Detection:
        if self._search is None:
            self._search = Search(self._residual)
        fit = self._search.best(key)
        place, deviations = fit.place, fit.deviations
        if deviations >= GATE:
            place, deviations = refine(self._residual, waves_of(key), place)
        return self._detection(key, place, deviations, chance_anywhere(deviations))

    def _detection(self, key: bytes, place: Place, deviations: float, chance: float) -> Detection:
        chance = min(1.0, LOOKS * chance)
        found = chance <= MOST_CHANCE
        return Detection(
            found=found,
            deviations=deviations,
            chance=chance,
            bundle_id=_message(self._residual, key, place) if found else None,
            tile_px=place.scale_across * TILE_PX * self._factor,
            top_px=place.top * self._factor,
            left_px=place.left * self._factor,
        )


def _message(residual: Array, key: bytes, place: Place) -> int | None:
    waves = waves_of(key)
    message = ~waves.is_beacon
    read = read_waves(residual, waves, place)[message]
    soft = np.bincount(waves.bit[message], read.real, CODED_BITS)
    bundle_id, intact = decode(soft)
    spread = math.sqrt((np.abs(read) ** 2).sum() / 2)
    fit = soft @ (2.0 * encode(bundle_id) - 1.0) / spread
    return bundle_id if intact and fit >= MESSAGE_THRESHOLD else None
