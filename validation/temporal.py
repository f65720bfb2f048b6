"""Figures over time that need no memory of the clip: correlation, flicker, and the path of a drift test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pocketportrait.contract import Array

FACE_BOX = slice(48, 208)  # rows and columns of a 256 px crop that the face fills
LEAST_CHANGE = 1e-6  # levels a frame: the change of a target that stands still


class RunningCorrelation:
    """Pearson's correlation of two series that come one pair at a time (Welford's recurrences)."""

    def __init__(self) -> None:
        self.count = 0
        self._means = [0.0, 0.0]
        self._squares = [0.0, 0.0]
        self._product = 0.0
        self._low = [math.inf, math.inf]
        self._high = [-math.inf, -math.inf]

    def add(self, one: float, other: float) -> None:
        """Take the next value of both series."""
        self.count += 1
        steps = [one - self._means[0], other - self._means[1]]
        for k, value in enumerate((one, other)):
            self._means[k] += steps[k] / self.count
            self._squares[k] += steps[k] * (value - self._means[k])
            self._low[k] = min(self._low[k], value)
            self._high[k] = max(self._high[k], value)
        self._product += steps[0] * (other - self._means[1])

    @property
    def ranges(self) -> tuple[float, float]:
        """Return how far each series ranges; zero before the first value."""
        one, other = (max(self._high[k] - self._low[k], 0.0) for k in (0, 1))
        return one, other

    def value(self) -> float:
        """Return the correlation; a series that stands still follows nothing: 0."""
        spread = math.sqrt(self._squares[0] * self._squares[1])
        if min(self.ranges) <= LEAST_CHANGE or not spread:
            return 0.0
        return self._product / spread


class FlickerTally:
    """How much the picture changes from frame to frame, beside how much it should.

    `flicker` is mean |d/dt output| / mean |d/dt target| inside the face box: 1 is ideal, more is noise,
    less is sluggish. `flicker_error` is mean |d/dt output - d/dt target|, 0..1 of full scale: it also
    sees the right amount of change at the wrong time or place. "Repeat the photo" has the target's own
    change as its error.
    """

    def __init__(self) -> None:
        self._before: tuple[Array, Array] | None = None
        self._sums = np.zeros(3)
        self._count = 0

    def add(self, output: Array, target: Array) -> None:
        """Take the next pair of frames, uint8 [256, 256, 3]."""
        now = (
            output[FACE_BOX, FACE_BOX].astype(np.int16),
            target[FACE_BOX, FACE_BOX].astype(np.int16),
        )
        if self._before is not None:
            changed, wanted = now[0] - self._before[0], now[1] - self._before[1]
            self._sums += [np.abs(d).mean() for d in (changed, wanted, changed - wanted)]
            self._count += 1
        self._before = now

    def figures(self) -> dict[str, float]:
        """Return `flicker`, `flicker_error` and `flicker_error_static`; empty for fewer than two frames."""
        if not self._count:
            return {}
        changed, wanted, error = (float(v) for v in self._sums / self._count)
        return {
            "flicker": changed / max(wanted, LEAST_CHANGE),
            "flicker_error": error / 255,
            "flicker_error_static": wanted / 255,
        }


def forth_and_back(length: int, frames: int) -> tuple[Sequence[int], Sequence[int]] | None:
    """Return the order in which a drift test plays a clip, and the order of its last whole pass.

    A pass is the clip once forth or once back; turning frames are played once. At most half of
    `frames` is used of a clip, so that there are two passes at least.

    Args:
        length: of the clip, in frames.
        frames: the most that are played.

    Returns:
        frame numbers up to the end of the last whole pass, and its tail that is this pass; None
        where the clip or `frames` is too short for two.

    """
    span = min(length, frames // 2)
    if span < 2:
        return None
    passes = (frames - 1) // (span - 1)
    played = [0]
    for number in range(passes):
        forth = range(1, span)
        played += forth if number % 2 == 0 else [span - 1 - k for k in forth]
    return played, played[-span:]
