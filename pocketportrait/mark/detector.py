"""Does this picture or clip carry the mark, and whose is it? Without the original."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.code import CODED_BITS, decode, encode
from pocketportrait.mark.pattern import PUBLIC_KEY, TILE_PX, waves_of
from pocketportrait.mark.residual import residual_of
from pocketportrait.mark.search import Place, read_waves, refine, search

# Unmarked clips reach 5.5 to 7 by chance, the best of some million places: see docs/trust.md.
THRESHOLD = 8.5
# Or a little less, if a message is there too: its CRC agrees, and it stands out more than the
# likeliest of 2**72 messages does from noise (9.7 in the mean).
THRESHOLD_WITH_MESSAGE = 6.5
MESSAGE_THRESHOLD = 12.0
PLACES_TRIED = 1e7  # scales times places, not all independent: an upper bound


@dataclass(frozen=True, slots=True)
class Detection:
    """What was found; `bundle_id` is None where no mark is, or its message cannot be read."""

    found: bool
    deviations: float  # how far the beacon stands out from chance, in standard deviations
    bundle_id: int | None
    tile_px: float  # width of the mark's tile in pixels of the frame
    top_px: float
    left_px: float

    @property
    def confidence(self) -> float:
        """Return 1 less the chance of such a fit anywhere in an unmarked clip, 0..1."""
        chance = PLACES_TRIED * 0.5 * math.erfc(self.deviations / math.sqrt(2))
        return max(0.0, 1.0 - chance)


def detect(frames: Iterable[Array], key: bytes = PUBLIC_KEY) -> Detection:
    """Look for the mark of a key in frames of one clip, or in one picture.

    Args:
        frames: uint8 [H, W, 3] of one size; a dozen, spread over two seconds, say nearly all.
        key: the public one, or the private one that was given at export.

    Raises:
        InputError: no frames, sizes that differ, or too small ones.

    """
    residual, factor = residual_of(frames)
    return detect_residual(residual, key, factor)


def detect_residual(residual: Array, key: bytes = PUBLIC_KEY, factor: int = 1) -> Detection:
    """Look for the mark in what `residual_of` gave; for many keys the frames are read once."""
    fit = search(residual, key)
    place, found, bundle_id = fit.place, False, None
    if fit.deviations >= THRESHOLD_WITH_MESSAGE:
        place = refine(residual, key, fit).place
        bundle_id = _read(residual, key, place)
        found = fit.deviations >= THRESHOLD or bundle_id is not None
    return Detection(
        found=found,
        deviations=fit.deviations,
        bundle_id=bundle_id,
        tile_px=place.scale_across * TILE_PX * factor,
        top_px=place.top * factor,
        left_px=place.left * factor,
    )


def _read(residual: Array, key: bytes, place: Place) -> int | None:
    waves = waves_of(key)
    agreement = read_waves(residual, waves, place)
    message = ~waves.is_beacon
    soft = np.bincount(waves.bit[message], agreement[message], CODED_BITS)
    bundle_id, intact = decode(soft)
    fit = soft @ (2.0 * encode(bundle_id) - 1.0) / math.sqrt(message.sum() / 2)
    return bundle_id if intact and fit >= MESSAGE_THRESHOLD else None
