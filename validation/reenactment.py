"""What self-reenactment owes, judged from the rows of the reference scorer.

Clips differ in how much they move, so errors are compared with those of "repeat the photo" on the same
clips: the ratio of the two means. Correlations over time are medians over the clips that move enough.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketportrait.errors import InputError

# Landmark figures know only frames where the output has a face: losing the face must not pass for skill.
MISSING_LIMIT = 0.05
SHOWN_RATIOS = ("apd_deg",)
SHOWN_MEANS = ("csim", "flicker", "psnr_db", "ssim")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a student is held to: ratios to "repeat the photo" at most, correlations at least."""

    ratios: Mapping[str, float]
    correlations: Mapping[str, float]


PERFORMS = Bounds(
    {"l1": 0.70, "akd_px": 0.32, "aed": 0.95},
    {"corr_jaw": 0.70, "corr_blink": 0.50, "corr_yaw": 0.85},
)
CONVINCES = Bounds(
    {"l1": 0.58, "akd_px": 0.22, "aed": 0.65, "apd_deg": 0.50},
    {"corr_jaw": 0.88, "corr_blink": 0.75, "corr_yaw": 0.93},
)
CROSS_RATIOS = {"apd_deg": 0.40, "aed": 0.75}
CROSS_IDENTITY = 0.75  # of the identity that self-reenactment keeps


@dataclass(frozen=True, slots=True)
class Gate:
    """One figure and the bound that it is held to."""

    figure: str
    value: float
    bound: float
    at_most: bool
    clips: int

    @property
    def passed(self) -> bool:
        """Say whether the figure keeps its bound."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def line(self) -> str:
        """Return the gate in one line."""
        verdict = "PASS" if self.passed else "FAIL"
        sign = "<=" if self.at_most else ">="
        return f"{verdict}  {self.figure:24} {self.value:7.3f} {sign} {self.bound:.2f}  ({self.clips} clips)"


def ratio_to_repeating(rows: Sequence[Row], figure: str) -> float:
    """Return mean(figure) / mean(figure of "repeat the photo") over the clips that have both.

    Raises:
        InputError: no clip has the figure.

    """
    both = [row for row in rows if figure in row and f"{figure}_static" in row]
    return _mean(both, figure) / _mean(both, f"{figure}_static")


def reenactment_gates(rows: Sequence[Row], bounds: Bounds = PERFORMS) -> tuple[Gate, ...]:
    """Return the gates of a set of clips; a correlation that no clip has is a failed gate, at 0."""
    gates = [_ratio_gate(rows, name, bound) for name, bound in bounds.ratios.items()]
    for name, bound in bounds.correlations.items():
        values = [row[name] for row in rows if name in row]
        median = statistics.median(values) if values else 0.0
        gates.append(Gate(f"{name} median", median, bound, False, len(values)))
    missing = _mean(rows, "missing")
    gates.append(Gate("frames without face", missing, MISSING_LIMIT, True, _count(rows, "missing")))
    return tuple(gates)


def cross_gates(pairs: Sequence[Row], themselves: Sequence[Row]) -> tuple[Gate, ...]:
    """Return the gates of photos that perform other people.

    Args:
        pairs: rows of cross-reenactment.
        themselves: rows of clips that perform themselves, whose identity is the measure.

    """
    gates = [_ratio_gate(pairs, name, bound) for name, bound in CROSS_RATIOS.items()]
    kept = _mean(pairs, "csim") / _mean(themselves, "csim")
    return (*gates, Gate("csim of self", kept, CROSS_IDENTITY, False, _count(pairs, "csim")))


def other_figures(rows: Sequence[Row]) -> dict[str, float]:
    """Return what is told beside the gates."""
    figures = {f"{name}_ratio": ratio_to_repeating(rows, name) for name in SHOWN_RATIOS}
    return figures | {name: _mean(rows, name) for name in SHOWN_MEANS}


def _ratio_gate(rows: Sequence[Row], name: str, bound: float) -> Gate:
    return Gate(f"{name} ratio", ratio_to_repeating(rows, name), bound, True, _count(rows, name))


def _count(rows: Sequence[Row], figure: str) -> int:
    return sum(figure in row for row in rows)


def _mean(rows: Sequence[Row], figure: str) -> float:
    values = [float(row[figure]) for row in rows if figure in row]
    if not values:
        raise InputError(f"scores: want clips with {figure}, got none of them; were faces found?")
    return statistics.fmean(values)
