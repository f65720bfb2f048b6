"""What a training run is told: where its data are, and the phases that it goes through."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pocketportrait.distill.objective import Kind
from pocketportrait.errors import InputError

TeacherKind = Literal["warp", "synthesis", "joint"]  # what learns while a teacher is distilled


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with one objective and one size."""

    kind: Kind | TeacherKind
    side: int  # pixels of the rendered picture
    batch: int  # pairs a step, over all processes
    steps: int
    rate: float  # learning rate after 100 steps of warm-up
    final: float = (
        1.0  # share of `rate` left at the end; below 1 it falls as a cosine over the phase
    )
    critic: float = 0.0  # weight of the patch discriminator; 0 runs without


def phone_plan() -> tuple[Phase, ...]:
    """Return the phases of a full training of the `phone` student: those of the shipped weights.

    The way there had detours (docs/evidence/training-log.jsonl has them all); this is the way
    without them.
    """
    return (
        Phase("motion", 256, 32, 1750, 2e-3, 0.3),
        Phase("joint", 128, 16, 2250, 1e-3, 0.5),
        Phase("joint", 256, 8, 2100, 6e-4, 0.2),
        Phase("motion", 256, 32, 1400, 7e-4, 0.05),
        Phase("render", 128, 16, 1300, 3.5e-4),
        Phase("render", 256, 8, 9000, 4e-4, 0.03),
    )


def read_plan(path: Path, known: tuple[str, ...] = get_args(Kind)) -> tuple[Phase, ...]:
    """Read phases from a JSON file: a list of objects with the fields of `Phase`.

    Args:
        path: the file.
        known: the kinds that may occur.

    Raises:
        InputError: no such file, no JSON, or a field missing, unknown or out of range.

    """
    try:
        plan = tuple(Phase(**phase) for phase in json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: want a JSON list of phases with {list(Phase.__slots__)}, got: {error}"
        ) from error
    kinds = " or ".join(known)
    for number, phase in enumerate(plan):
        if phase.kind not in known or min(phase.batch, phase.steps, phase.rate) <= 0:
            raise InputError(
                f"{path}: phase {number}: want kind {kinds}, and batch, steps and rate above 0"
            )
    return plan


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `pocketportrait train` is told."""

    data: Path  # folder with clips/
    out: Path  # where checkpoint, weights, log and sheets go
    labels: Path | None = None  # data/labels when not given
    cache: Path | None = None  # out/cache when not given
    preset: str = "phone"  # or a .json file of the sizes that are unlike its
    plan: tuple[Phase, ...] = ()  # phone_plan() when empty
    seed: int = 0
    minutes: float = math.inf  # stop (resumable) after this long
    start: Path | None = None  # weights to begin with instead of random ones
    monitor: Path | None = None  # another labelled folder to watch figures on
    monitor_labels: Path | None = None  # monitor/labels when not given
    save_every: int = 250  # steps
    average: float = 0.995  # decay of the moving average that is shipped
    threads: int | None = None
    licence: str = ""  # of the weights, kept in their metadata; the data decide it


def learning_rate(phase: Phase, step: int) -> float:
    """Return the learning rate of a phase's step: 100 steps of warm-up, then constant or a cosine."""
    warm = min(1.0, (step + 1) / 100)
    fall = phase.final + (1 - phase.final) * 0.5 * (1 + math.cos(math.pi * step / phase.steps))
    return phase.rate * warm * fall
