"""The front of a search: the recipes that no other beats in everything, and picking one of them.

The JSON Schema of the record is published as `docs/schemas/front-1.json`.
"""

from __future__ import annotations

import csv
import io
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.quantize.charts import Dot, scatter_plot
from pocketportrait.quantize.judging import Figures
from pocketportrait.quantize.recipe import Recipe
from pocketportrait.quantize.space import Objective

SCHEMA_VERSION: Final = 1
RECORD, TABLE, PLOT = "pareto.json", "pareto.csv", "pareto-{}.svg"
MORE_IS_BETTER = frozenset({"psnr_db", "worst_db"})
FIGURES = ("psnr_db", "worst_db", "lost_db", "bytes", "frame_ms", "frame_instructions")
COLUMNS = ("number", "on_front", "recipe", *FIGURES)
COMPARES: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(rf"\s*({'|'.join(FIGURES)})\s*(>=|<=|>|<)\s*(\S+)\s*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tried(_Strict):
    """One finished trial."""

    number: int
    chosen: dict[str, str | bool]
    recipe: Recipe
    figures: Figures


class Front(_Strict):
    """All finished trials of a search; `front` has the numbers of those that nothing beats."""

    schema_version: Literal[1] = SCHEMA_VERSION
    space: str
    format: str
    objectives: tuple[Objective, ...]
    failed: int  # trials that a tool could not make
    counted_on: str | None = None  # the target that counted frame_instructions
    front: tuple[int, ...]
    trials: tuple[Tried, ...]

    @classmethod
    def of(
        cls,
        trials: Sequence[Tried],
        objectives: Sequence[Objective],
        *,
        space: str,
        format: str,
        failed: int = 0,
        counted_on: str | None = None,
    ) -> Front:
        """Return the front of some trials; of equal recipes the first counts."""
        unlike = {one.recipe.name: one for one in reversed(trials)}
        rows = sorted(unlike.values(), key=lambda one: one.number)
        best = [
            one
            for one in rows
            if not any(beats(other.figures, one.figures, objectives) for other in rows)
        ]
        best.sort(key=lambda one: -one.figures.psnr_db)
        return cls(
            space=space,
            format=format,
            objectives=tuple(objectives),
            failed=failed,
            counted_on=counted_on,
            front=tuple(one.number for one in best),
            trials=tuple(trials),
        )

    def best(self) -> tuple[Tried, ...]:
        """Return the trials on the front, the best picture first."""
        by_number = {one.number: one for one in self.trials}
        return tuple(by_number[number] for number in self.front)

    def pick(self, conditions: Sequence[str]) -> Tried:
        """Return the cheapest recipe on the front that keeps all conditions.

        Cheapest is the least milliseconds, then instructions, then bytes, of what was measured.

        Args:
            conditions: such as `psnr_db>=38`; several in one text are parted by commas.

        Raises:
            InputError: a condition that cannot be read, or that nothing on the front keeps.

        """
        parsed = [parse(part) for text in conditions for part in text.split(",")]
        kept = [one for one in self.best() if all(keeps(one.figures, *cond) for cond in parsed)]
        if not kept:
            name, sign, _ = parsed[0]
            sense = max if sign.startswith(">") else min
            values = [v for one in self.best() if (v := getattr(one.figures, name)) is not None]
            nearest = f"the nearest has {name} {sense(values):g}" if values else "nothing was tried"
            raise InputError(
                f"pick: want a recipe with {' and '.join(conditions)}, got none on the front of"
                f" {len(self.front)}; {nearest}; search further with a larger -n"
            )
        return min(kept, key=lambda one: _cost(one.figures))

    def write(self, out: Path) -> None:
        """Write record, table and plots into a folder, each whole or not at all."""
        atomic.write_bytes(out / RECORD, self.model_dump_json(indent=2).encode() + b"\n")
        atomic.write_bytes(out / TABLE, self.to_csv().encode())
        for name in self.objectives:
            if name != "psnr_db" and "psnr_db" in self.objectives:
                atomic.write_bytes(out / PLOT.format(name), self.to_svg(name).encode())

    def to_csv(self) -> str:
        """Return all trials as a table."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        choices = list(self.trials[0].chosen) if self.trials else []
        rows.writerow([*COLUMNS, *choices])
        for one in self.trials:
            facts = {
                "number": one.number,
                "on_front": one.number in self.front,
                "recipe": one.recipe.name,
                **one.figures.model_dump(),
            }
            rows.writerow([*(facts[name] for name in COLUMNS), *map(str, one.chosen.values())])
        return text.getvalue()

    def to_svg(self, cost: str) -> str:
        """Return a plot of dB over a cost."""
        dots = [
            Dot(float(value), one.figures.psnr_db, str(one.number), one.number in self.front)
            for one in self.trials
            if (value := getattr(one.figures, cost)) is not None
        ]
        return scatter_plot(f"{self.space}, {self.format}", cost, "psnr_db", dots)


def _cost(figures: Figures) -> tuple[float, ...]:
    return figures.frame_ms or 0.0, figures.frame_instructions or 0, figures.bytes


def beats(one: Figures, other: Figures, objectives: Sequence[str]) -> bool:
    """Say whether figures are nowhere worse and somewhere better."""
    mine, theirs = losses(one, objectives), losses(other, objectives)
    return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def losses(figures: Figures, objectives: Sequence[str]) -> list[float]:
    """Return the objectives with the sign that makes less better.

    Raises:
        InputError: milliseconds are an objective and were not measured.

    """
    found = []
    for name in objectives:
        value = getattr(figures, name)
        if value is None:
            raise InputError(
                f"objectives: want {name}, got none measured, since an evaluator stands in for the"
                " engine here; leave it out"
            )
        found.append(-value if name in MORE_IS_BETTER else float(value))
    return found


def parse(condition: str) -> tuple[str, str, float]:
    """Read a condition such as `psnr_db>=38`: figure, sign and bound.

    Raises:
        InputError: it is none.

    """
    match = CONDITION.fullmatch(condition)
    try:
        if match is None:
            raise ValueError("no figure, sign and number")
        return match[1], match[2], float(match[3])
    except ValueError as error:
        raise InputError(
            f"pick: want FIGURE>=NUMBER or FIGURE<=NUMBER, the figure one of {', '.join(FIGURES)};"
            f" got {condition!r}"
        ) from error


def keeps(figures: Figures, name: str, sign: str, bound: float) -> bool:
    """Say whether figures keep a condition; what was not measured keeps none."""
    value = getattr(figures, name)
    return value is not None and COMPARES[sign](float(value), bound)


def front_schema() -> dict[str, Any]:
    """Return the JSON Schema of a front."""
    schema = Front.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
