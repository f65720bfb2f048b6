"""Learnt ranges: what fine-tuning found for single tensors, as a file that every backend takes.

A range belongs to what an integer layer takes (`blocks.0.first:input`) or gives, after the activation
that follows it (`blocks.0.first:result`): names that mean the same tensor in every format. The JSON
Schema is published as `docs/schemas/ranges-1.json`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan

SCHEMA_VERSION: Final = 1
NUM_NEAREST = 3  # names that an error shows


def _is_wide(pair: tuple[float, float]) -> tuple[float, float]:
    low, high = pair
    if not low <= 0 <= high or low == high:
        raise ValueError(f"want low <= 0 <= high and some width, got {low:g} and {high:g}")
    return pair


Pair = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_is_wide)]


class LearntRanges(BaseModel):
    """Smallest and largest number of some tensors of each graph; zero is always among them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    recipe: str = Field(description="that was learnt for, in one line")
    steps: int = Field(ge=0, description="of fine-tuning")
    ranges: dict[str, dict[str, Pair]] = Field(description="by graph, then LAYER:input or :result")

    @property
    def digest(self) -> str:
        """Return a short digest of the ranges."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")

    def of(self, plans: Mapping[str, GraphPlan]) -> dict[str, GraphPlan]:
        """Return plans that take these ranges in place of measured ones.

        Raises:
            InputError: a range is of no integer layer of the recipe; all of them are named.

        """
        faults = []
        for graph, ranges in self.ranges.items():
            known = keys_of(plans[graph]) if graph in plans else []
            for key in ranges:
                if key not in known:
                    near = difflib.get_close_matches(key, known, NUM_NEAREST) or known[:NUM_NEAREST]
                    faults.append(f"{graph} {key} (near: {', '.join(near) or 'none'})")
        if faults:
            raise InputError(
                f"ranges: want ranges of layers that the recipe computes in integers, got"
                f" {'; '.join(faults)}; learn them with the recipe that is quantized"
            )
        return {
            graph: dataclasses.replace(plan, ranges=dict(self.ranges.get(graph, {})))
            for graph, plan in plans.items()
        }


def keys_of(plan: GraphPlan) -> list[str]:
    """Return the names of all ranges that integer layers of a graph have."""
    return [f"{layer.name}:{side}" for layer in plan.integer for side in (INPUT, RESULT)]


def read_ranges(path: Path) -> LearntRanges:
    """Read learnt ranges.

    Raises:
        InputError: not there, or contents unlike the schema; all faults are told.

    """
    try:
        return LearntRanges.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: want learnt ranges, got: {error.strerror}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc'])) or 'file'}: {f['msg']}" for f in error.errors()]
        raise InputError(
            f"{path}: want learnt ranges, got {'; '.join(faults)}; `pocketportrait qat` writes them"
        ) from error


def ranges_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of learnt ranges."""
    schema = LearntRanges.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
