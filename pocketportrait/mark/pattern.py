"""The mark's pattern: keyed waves that repeat every 256 pixels, part beacon, part message.

Every whole number of waves a tile inside a ring of spatial frequencies carries one wave. A key decides
each wave's phase and whether it belongs to the beacon, by which a mark is found and aligned, or to one
of the message's coded bits, which turns its waves upside down or not.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.mark.code import CODED_BITS, encode

TILE_PX = 256
# Periods of 18 to 4.4 px: longer ones are seen, shorter ones die of halving a picture's size.
LOWEST, HIGHEST = 14, 58  # waves a tile
BEACON_SHARE = 0.4  # of the waves: finding has to reach further than reading
PUBLIC_KEY = b"pocketportrait mark 1"
BEACON = -1


@dataclass(frozen=True, slots=True, eq=False)
class Waves:
    """The waves of a key: [N] each, in waves a tile, radians and coded bits."""

    down: Array
    across: Array
    phase: Array
    bit: Array  # index of the coded bit, or BEACON

    @property
    def is_beacon(self) -> Array:
        """True where a wave helps to find the mark, [N]."""
        return np.asarray(self.bit == BEACON)


@functools.lru_cache(maxsize=128)
def waves_of(key: bytes = PUBLIC_KEY) -> Waves:
    """Return the waves of a key; the same on every machine (SHAKE-256 is the only chance)."""
    down, across = np.meshgrid(
        np.arange(-HIGHEST, HIGHEST + 1), np.arange(HIGHEST + 1), indexing="ij"
    )
    radius = np.hypot(down, across)
    # a picture's numbers are real: half of the plane says it all
    inside = (radius >= LOWEST) & (radius <= HIGHEST) & ((across > 0) | (down > 0))
    down, across = down[inside], across[inside]
    chance = np.frombuffer(hashlib.shake_256(key).digest(16 * len(down)), "<u8")
    order = np.argsort(chance[: len(down)], kind="stable")
    phase = chance[len(down) :] * (2 * np.pi / 2.0**64)
    num_beacon = round(BEACON_SHARE * len(down))
    bit = np.full(len(down), BEACON)
    bit[num_beacon:] = np.arange(len(down) - num_beacon) % CODED_BITS
    return Waves(down[order], across[order], phase, bit)


def field(bundle_id: int, key: bytes = PUBLIC_KEY) -> Array:
    """Return one tile of the pattern, float32 [256, 256], mean 0, root mean square 1."""
    waves = waves_of(key)
    coded = encode(bundle_id)
    signs = np.where(waves.is_beacon, 1.0, 2.0 * coded[waves.bit] - 1.0)
    tile = _sum_of(waves, signs, np.ones(len(signs), bool), TILE_PX)
    return np.asarray(tile / tile.std(), np.float32)


def field_of_side(bundle_id: int, side: int, key: bytes = PUBLIC_KEY) -> Array:
    """Return the pattern over a square of any side, [side, side]: repeated, or cut in the middle."""
    tile = field(bundle_id, key)
    if side <= TILE_PX:
        start = (TILE_PX - side) // 2
        return tile[start : start + side, start : start + side]
    repeats = -(-side // TILE_PX)
    return np.tile(tile, (repeats, repeats))[:side, :side]


def beacon(key: bytes, side: int, highest: float = HIGHEST) -> Array:
    """Return the beacon alone, float32 [side, side], one tile drawn on `side` samples a side.

    Args:
        key: of the mark.
        side: more than twice `highest`.
        highest: finer waves are left out.

    """
    waves = waves_of(key)
    chosen = waves.is_beacon & (np.hypot(waves.down, waves.across) <= highest)
    drawn = _sum_of(waves, np.ones(len(waves.phase)), chosen, side)
    return np.asarray(drawn / drawn.std(), np.float32)


def _sum_of(waves: Waves, signs: Array, chosen: Array, side: int) -> Array:
    spectrum = np.zeros((side, side // 2 + 1), np.complex128)
    values = signs * np.exp(1j * waves.phase)
    spectrum[waves.down[chosen] % side, waves.across[chosen]] = values[chosen]
    return np.fft.irfft2(spectrum, s=(side, side))
