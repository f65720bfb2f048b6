"""Making a spectrum white: what a picture has much of at some frequencies must not shout there."""

from __future__ import annotations

import numpy as np

from pocketportrait.contract import Array

MOST = 2.5  # times the neighbourhood's size; single lines are the picture's, not the mark's
_LEAST = 1e-12


def box_sum(values: Array, reach: int) -> Array:
    """Return the sums over [-reach, reach] along both axes, without a border of `reach`."""
    size = 2 * reach + 1
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    return np.asarray(
        total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    )


def divided(values: Array, level: Array) -> Array:
    """Divide complex values by their usual size there, and bring those far beyond it back."""
    white = values / (level + _LEAST)
    return np.asarray(white / np.maximum(1.0, np.abs(white) / MOST), np.complex64)


def whitened(spectrum: Array, reach: int) -> Array:
    """Divide what `rfft2` gave of a square by the root mean square of each neighbourhood, [n, n // 2 + 1]."""
    power = np.abs(spectrum) ** 2
    power /= power.max() + _LEAST
    # a real picture's other half of the plane: the same, turned by half a turn
    other = np.roll(power[::-1], 1, axis=0)
    even = 1 - len(power) % 2
    wide = np.concatenate(
        [other[:, reach:0:-1], power, other[:, -1 - even : -1 - even - reach : -1]], axis=1
    )
    wide = np.pad(wide, ((reach, reach), (0, 0)), mode="wrap")
    level = np.sqrt(np.maximum(box_sum(wide, reach), 0)) / (2 * reach + 1)
    scale = np.sqrt(np.abs(spectrum).max() ** 2 + _LEAST)
    return divided(spectrum / scale, level)
