"""How alike two tensors are: one value with three figures, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a candidate is from its reference."""

    max_abs: float  # largest absolute difference; infinite if the candidate holds NaN or infinity
    psnr_db: float  # peak signal to noise ratio; infinite for equal tensors
    cosine: float  # of the two tensors as vectors; 1 for equal tensors

    @classmethod
    def of(cls, reference: Array, candidate: Array, *, peak: float | None = None) -> Self:
        """Compare two tensors of one shape.

        Args:
            reference: what is right; must be finite.
            candidate: what came; a NaN or an infinity in it is the worst parity there is.
            peak: the peak of the PSNR: 1.0 for images; by default the reference's max - min.

        Raises:
            InputError: shapes differ (nothing is broadcast), or the reference is empty or not finite.

        """
        if reference.shape != candidate.shape:
            raise InputError(
                f"parity: want equal shapes, got {reference.shape} and {candidate.shape};"
                " transpose to the contract's layout first"
            )
        want, got = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        if want.size == 0 or not np.isfinite(want).all():
            raise InputError("parity: want a finite reference that is not empty; export it again")
        if not np.isfinite(got).all():
            return cls(math.inf, -math.inf, 0.0)
        difference = got - want
        mean_square = float(np.mean(difference**2))
        return cls(
            max_abs=float(np.abs(difference).max()),
            psnr_db=_psnr_db(mean_square, _peak(want) if peak is None else peak),
            cosine=_cosine(want, got),
        )

    def worse(self, other: Parity) -> Parity:
        """Return the worse of each figure of two parities."""
        return Parity(
            max(self.max_abs, other.max_abs),
            min(self.psnr_db, other.psnr_db),
            min(self.cosine, other.cosine),
        )


def _peak(want: Array) -> float:
    """Return max - min, or for a constant tensor what its size lets us compare with."""
    return float(np.ptp(want)) or float(np.abs(want).max()) or 1.0


def _psnr_db(mean_square: float, peak: float) -> float:
    if mean_square == 0:
        return math.inf
    return 20 * math.log10(peak) - 10 * math.log10(mean_square)


def _cosine(want: Array, got: Array) -> float:
    lengths = float(np.linalg.norm(want) * np.linalg.norm(got))
    if lengths == 0:
        return float(np.array_equal(want, got))
    return float(np.clip(want @ got / lengths, -1.0, 1.0))
