"""Golden outputs that ship with the package: what a reference computed from the formula's weights.

A file holds, for each output, exact float32 values at up to 4096 places spread over it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from safetensors import safe_open

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

TOLERANCE = 1e-4  # relative L2; float32 against float64 is 1e-6, a wrong network 1e-1
PLACES = 4096


@dataclass(frozen=True, slots=True)
class GoldenOutput:
    """One output at its sampled places."""

    shape: tuple[int, ...]
    values: Array  # float32 [places]

    def difference(self, got: Array) -> float:
        """Return the relative L2 distance of `got` at the sampled places.

        Raises:
            InputError: `got` has another shape.

        """
        if got.shape != self.shape:
            raise InputError(f"want shape {list(self.shape)}, got {list(got.shape)}")
        want = self.values.astype(np.float64)
        error = got.astype(np.float64).ravel()[places(got.size)] - want
        return float(np.linalg.norm(error) / max(np.linalg.norm(want), np.finfo(np.float32).tiny))


def places(size: int) -> Array:
    """Return the sampled positions of a tensor, in C order."""
    return np.unique(np.arange(PLACES, dtype=np.int64) * size // PLACES)


def golden_path(kind: str) -> Path:
    """Return where the golden outputs of a kind of teacher are."""
    file = resources.files("pocketportrait") / "assets" / "teachers" / f"{kind}.safetensors"
    return Path(str(file))


def read_golden(kind: str) -> dict[str, GoldenOutput]:
    """Return the golden outputs of a kind of teacher by name."""
    with safe_open(str(golden_path(kind)), "np") as file:
        shapes = json.loads((file.metadata() or {})["shapes"])
        return {
            name: GoldenOutput(tuple(shape), file.get_tensor(name))
            for name, shape in shapes.items()
        }
