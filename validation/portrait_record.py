"""What an evaluation found, as a record on disk.

Its JSON Schema is published as `docs/schemas/evaluation-1.json`; figures are defined in `docs/evaluation.md`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from pocketportrait import __version__, atomic
from pocketportrait.validation.machine import Machine
from pocketportrait.validation.reenactment import ratio_to_repeating

STATIC = "_static"
RATED = ("l1", "akd_px", "aed", "apd_deg")  # worst clips are told by their ratio in these
RATIOS = (*RATED, "flicker_error")  # errors: less is better, and "repeat the photo" is 1
NUM_WORST = 5

Figures = dict[str, FiniteFloat]


class ClipFigures(BaseModel):
    """The figures of one clip; those that could not be measured are absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self", "cross"]
    clip: str
    photo: str = ""  # cross: whose photo performs; self: the clip's first frame
    origin: str = ""
    frames: int  # that were compared
    faces: int  # of them, whose faces were compared
    figures: Figures

    @property
    def name(self) -> str:
        """Return the clip, and the photo if it is another one."""
        return f"{self.clip}, {self.photo}" if self.photo else self.clip

    def ratio(self, figure: str) -> float | None:
        """Return figure / that of "repeat the photo", None where one is missing or the clip is still."""
        still = self.figures.get(figure + STATIC)
        return self.figures[figure] / still if still and figure in self.figures else None


class Summary(BaseModel):
    """Several clips together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self", "cross"]
    group: str  # "all", or an origin
    clips: int
    means: Figures
    medians: Figures  # of correlations
    ratios: Figures  # of the mean to the mean of "repeat the photo"


class Worst(BaseModel):
    """A clip that is far from right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["self", "cross"]
    figure: str
    clip: str
    ratio: FiniteFloat


class Skipped(BaseModel):
    """Figures that nobody could measure here, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: tuple[str, ...]
    reason: str


class Evaluation(BaseModel):
    """All figures of one model on one set of clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    subject: str  # name of the bundle, or of the folder of rendered clips
    variant: str = ""  # format/precision; none for rendered clips
    runner: str = ""
    model: dict[str, str] = {}  # what the bundle says of its model
    score_models: dict[str, str] = {}  # sha256 by file name
    machine: Machine
    seconds: FiniteFloat
    clips: tuple[ClipFigures, ...]
    summaries: tuple[Summary, ...]
    worst: tuple[Worst, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[ClipFigures, ...]:
        """Return the clips of one kind."""
        return tuple(clip for clip in self.clips if clip.kind == kind)

    def to_json(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


def evaluation_schema() -> dict[str, Any]:
    """Return the JSON Schema of an evaluation."""
    schema = Evaluation.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def summarize(clips: Sequence[ClipFigures]) -> tuple[Summary, ...]:
    """Return, per kind, all clips together and, where there are several origins, each of them."""
    found = []
    for kind in ("self", "cross"):
        rows = [clip for clip in clips if clip.kind == kind]
        origins = sorted({row.origin for row in rows if row.origin})
        groups = {"all": rows}
        if len(origins) > 1:
            groups |= {o: [row for row in rows if row.origin == o] for o in origins}
        found += [_summary(name, group) for name, group in groups.items() if group]
    return tuple(found)


def _summary(group: str, rows: Sequence[ClipFigures]) -> Summary:
    figures = [row.figures for row in rows]
    names = sorted({name for row in figures for name in row})
    values = {name: [row[name] for row in figures if name in row] for name in names}
    rated = [n for n in RATIOS if _static_sum(figures, n) > 0]
    return Summary(
        kind=rows[0].kind,
        group=group,
        clips=len(rows),
        means={name: statistics.fmean(v) for name, v in values.items()},
        medians={n: statistics.median(v) for n, v in values.items() if n.startswith("corr_")},
        ratios={name: ratio_to_repeating(figures, name) for name in rated},
    )


def _static_sum(figures: Sequence[Figures], name: str) -> float:
    return sum(row[name + STATIC] for row in figures if name in row and name + STATIC in row)


def find_worst(clips: Sequence[ClipFigures]) -> tuple[Worst, ...]:
    """Return the clips with the largest ratio to "repeat the photo", per kind and figure."""
    found: list[Worst] = []
    for kind in ("self", "cross"):
        for figure in RATED:
            rated = [
                Worst(kind=clip.kind, figure=figure, clip=clip.name, ratio=ratio)
                for clip in clips
                if clip.kind == kind and (ratio := clip.ratio(figure)) is not None
            ]
            found += sorted(rated, key=lambda w: -w.ratio)[:NUM_WORST]
    return tuple(found)
