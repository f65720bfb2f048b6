"""What a benchmark found, as records that a report holds.

Times are wall time in ms. A record of an emulated runner cannot hold a time: its model refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

from pocketportrait.errors import InputError
from pocketportrait.validation.checks import Status
from pocketportrait.validation.machine import Machine

FRAME = "frame"  # motion and render together, beside the names of the graphs

Verdict = Literal["faster", "slower", "not distinguishable"]


class Record(BaseModel):
    """Frozen, and without fields that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Timing(Record):
    """Percentiles of `repeats` calls that followed `warmup` calls nobody counted."""

    p50_ms: FiniteFloat
    p90_ms: FiniteFloat
    p95_ms: FiniteFloat
    p99_ms: FiniteFloat
    warmup: int
    repeats: int

    @classmethod
    def of(cls, durations_ms: Sequence[float], *, warmup: int = 0) -> Self:
        """Return the percentiles of durations; the first `warmup` of them are left out.

        Raises:
            InputError: nothing is left to take a percentile of.

        """
        timed = durations_ms[warmup:]
        if not timed:
            raise InputError(
                f"latency: want more than {warmup} calls (the warm-up), got {len(durations_ms)}"
            )
        p50, p90, p95, p99 = (float(v) for v in np.percentile(timed, [50, 90, 95, 99]))
        return cls(
            p50_ms=p50, p90_ms=p90, p95_ms=p95, p99_ms=p99, warmup=warmup, repeats=len(timed)
        )


class Residency(Record):
    """How many of a graph's operators one part of an engine ran, such as an execution provider."""

    unit: str
    operators: int


class GraphBench(Record):
    """One graph of a variant."""

    graph: str
    load_ms: FiniteFloat
    first_ms: FiniteFloat
    warm: Timing
    residency: tuple[Residency, ...] = ()
    residency_note: str = ""  # why there is none


class VariantBench(Record):
    """What one variant costs in a process of its own, or why that was not measured."""

    bundle: str
    bundle_sha256: str = ""  # of its manifest
    variant: str  # format/precision
    runner: str
    target: str = ""  # where, by its name on the command line; empty: a process of the machine
    threads: int | None = None  # asked for; None: the engine chose
    emulated: bool = False
    skipped: str = ""  # the reason
    import_ms: FiniteFloat | None = None  # of the engine
    graphs: tuple[GraphBench, ...] = ()
    frame: Timing | None = None
    peak_rss_bytes: int | None = None
    process_threads: int | None = None
    frame_ms: tuple[FiniteFloat, ...] = ()  # the frames that count, in their order

    @property
    def ran_by(self) -> str:
        """Return the runner, and the target if there is one."""
        return f"{self.runner} on {self.target}" if self.target else self.runner

    @property
    def name(self) -> str:
        """Return variant, runner and target."""
        return f"{self.variant} ({self.ran_by})"

    @model_validator(mode="after")
    def _no_latency_of_an_emulation(self) -> Self:
        if self.emulated and (self.graphs or self.frame or self.frame_ms or self.import_ms):
            raise ValueError(f"{self.variant}: {self.runner} is emulated; its times are no latency")
        if not self.skipped and self.frame is None:
            raise ValueError(f"{self.variant}: want times, or the reason why there are none")
        return self


class Comparison(Record):
    """B against A, from rounds in which each had its turn."""

    a: str
    b: str
    verdict: Verdict  # of B
    ratio: FiniteFloat  # time of B / time of A
    low: FiniteFloat
    high: FiniteFloat
    alpha: FiniteFloat
    smallest_effect: FiniteFloat  # 0.03: differences within 3 % are none
    block: int  # rounds that are drawn together
    rounds: int
    note: str = ""

    @property
    def line(self) -> str:
        """Return the comparison in one line."""
        confidence = f"{1 - self.alpha:.0%}: {self.low:.3f} to {self.high:.3f}"
        more = f" ({self.note})" if self.note else ""
        return f"{self.b} against {self.a}: {self.verdict}, {self.ratio:.3f} x ({confidence}){more}"


class Minute(Record):
    """One minute of a sustained run."""

    minute: int  # from 0
    frames: int
    p50_ms: FiniteFloat
    p95_ms: FiniteFloat
    clock_mhz: FiniteFloat | None  # mean over the cores
    temperature_c: FiniteFloat | None  # of the hottest zone


class Sustained(Record):
    """Frames drawn without a pause."""

    variant: str
    seconds: FiniteFloat
    minutes: tuple[Minute, ...]
    notes: tuple[str, ...] = ()

    @property
    def slowdown(self) -> float:
        """Return the median of the last minute / that of the first."""
        return self.minutes[-1].p50_ms / self.minutes[0].p50_ms


class Stage(Record):
    """One stage between the camera and the picture; `per_frame` is its time in each frame."""

    stage: str
    timing: Timing


class Budget(Record):
    """Where a frame's time goes, from the driver's file to the written video."""

    variant: str
    driver: str
    frames: int
    stages: tuple[Stage, ...]
    total: Timing

    @property
    def frames_per_second(self) -> float:
        """Return how many frames pass in a second, one after the other."""
        return 1e3 / self.total.p50_ms


class Regression(Record):
    """One variant against the baseline."""

    variant: str
    status: Status
    message: str
    comparison: Comparison | None = None


class Bench(Record):
    """One run of `bench` on one machine."""

    tool: str
    machine: Machine
    started: str  # UTC, ISO 8601
    load_1m: FiniteFloat | None = None  # of the machine when it began
    variants: tuple[VariantBench, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    sustained: tuple[Sustained, ...] = ()
    budgets: tuple[Budget, ...] = ()
    regressions: tuple[Regression, ...] = ()
    notes: tuple[str, ...] = ()
