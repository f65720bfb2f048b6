"""How much parity each kind of variant owes, derived from what float32 itself can promise.

The noise floor of a tensor is the largest |float32 - float64| that the exporter measured on the golden
vectors: torch against itself, so no engine can be asked to be closer than about that. A float32 variant
may be `NOISE_MARGIN` times the floor away, because an engine adds in another order, and in no case
further than the contract's ceiling. The floor can only tighten a gate, never loosen it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.validation.parity import Parity

FLOAT32_CEILING = 1e-4  # times max(1, max|reference|); for images just this
NOISE_MARGIN = 16  # measured: 3.2 floors at most, in all three formats, on the phone student
LEAST_FLOAT32 = 2e-6  # eight units in the last place at 1: a lucky floor of zero is no promise
FLOAT16_PSNR_DB = 50.0
QUANTIZED_PSNR_DB = 20.0  # only a broken graph is below; quality is judged by the quantize stage
INT4_PSNR_DB = (
    12.0  # a step is 16 times that of 8 bits; every weight so, a tiny random student: 18.9
)

Arithmetic = Literal["float32", "float16", "quantized", "int4"]
# against torch; and of one file under two engines
PSNR_DB: dict[Arithmetic, float] = {
    "float16": FLOAT16_PSNR_DB,
    "quantized": QUANTIZED_PSNR_DB,
    "int4": INT4_PSNR_DB,
}
SAME_FILE_PSNR_DB: dict[Arithmetic, float] = {"float16": 50.0, "quantized": 40.0, "int4": 40.0}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The gate of one tensor: an upper bound of `max_abs` or a lower bound of `psnr_db`."""

    max_abs: float = math.inf
    psnr_db: float = -math.inf
    noise_floor: float | None = None  # what `max_abs` was made of

    def complaint(self, parity: Parity) -> str | None:
        """Return what is wrong with a parity, or None if it passes."""
        if parity.max_abs == math.inf:
            return "the output holds NaN or infinity"
        if parity.max_abs > self.max_abs:
            return f"max abs {parity.max_abs:.3g} is above {self.max_abs:.3g}"
        if parity.psnr_db < self.psnr_db:
            return f"PSNR {parity.psnr_db:.1f} dB is below {self.psnr_db:.1f} dB"
        return None


def arithmetic_of(precision: str, weights: str, activations: str) -> Arithmetic:
    """Return which rule a variant falls under; the standard names bind, whatever else it says."""
    if precision == "fp32" or (weights, activations) == ("float32", "float32"):
        return "float32"
    if precision == "fp16" or {weights, activations} <= {"float32", "float16"}:
        return "float16"
    return "int4" if weights == "int4" else "quantized"


def tolerance_for(
    arithmetic: Arithmetic, spec: TensorSpec, reference: Array, noise_floor: float | None
) -> Tolerance:
    """Return the gate of one output.

    Args:
        arithmetic: what the variant stores and computes in.
        spec: the output's contract.
        reference: the reference values that the ceiling scales with.
        noise_floor: largest |float32 - float64| on the golden vectors, None if nobody measured.

    """
    if arithmetic != "float32":
        return Tolerance(psnr_db=PSNR_DB[arithmetic])
    scale = 1.0 if spec.is_image else max(1.0, float(np.abs(reference).max()))
    ceiling = FLOAT32_CEILING * scale
    if noise_floor is None:
        return Tolerance(max_abs=ceiling)
    bound = min(ceiling, max(NOISE_MARGIN * noise_floor, LEAST_FLOAT32 * scale))
    return Tolerance(max_abs=bound, noise_floor=noise_floor)


def same_file_tolerance(
    arithmetic: Arithmetic, spec: TensorSpec, reference: Array, noise_floor: float | None
) -> Tolerance:
    """Return the gate between two results of one file: of two engines, or of two passes of one engine.

    Args:
        arithmetic: what the variant stores and computes in.
        spec: the output's contract.
        reference: what the file gave first.
        noise_floor: as in `tolerance_for`.

    """
    if arithmetic == "float32":
        return tolerance_for(arithmetic, spec, reference, noise_floor)
    return Tolerance(psnr_db=SAME_FILE_PSNR_DB[arithmetic])


def noise_floor(float32: Array, float64: Array) -> float:
    """Return the largest |float32 - float64| of one tensor."""
    return float(np.abs(float32.astype(np.float64) - float64).max())
