"""`bench`: what variants cost on this machine, each in a process of its own.

Two variants are compared in rounds: in each both draw one frame, in an order that is drawn by lot, so
that whatever else the machine does slows both alike.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from pocketportrait import __version__
from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.runner import choose_runner, is_emulated
from pocketportrait.validation.bench_process import Job, VariantProcess
from pocketportrait.validation.bench_record import (
    Bench,
    Comparison,
    GraphBench,
    Minute,
    Sustained,
    Timing,
    VariantBench,
)
from pocketportrait.validation.bench_sensors import read_clock_mhz, read_load, read_temperature_c
from pocketportrait.validation.bench_statistic import LEAST_ROUNDS, Bounds, compare_rounds
from pocketportrait.validation.machine import describe_machine

MANIFEST = "manifest.json"
MINUTE_S = 60.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How long and with what to measure."""

    rounds: int = 100  # frames that count
    warmup: int = 10
    threads: int | None = None  # None: the engine chooses
    residency: bool = True
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.rounds < LEAST_ROUNDS or self.warmup < 0:
            raise InputError(
                f"bench: want {LEAST_ROUNDS} rounds at least and a warm-up of 0 or more, got"
                f" {self.rounds} and {self.warmup}"
            )


@dataclass(frozen=True, slots=True)
class Choice:
    """One variant of one bundle, and who runs it."""

    bundle: Bundle
    format: str
    precision: str
    runner: str | None = None  # None: the best that can be used here

    @classmethod
    def read(cls, bundle: Bundle, text: str) -> Choice:
        """Return the variant that `format/precision` or `format/precision@runner` names.

        Raises:
            InputError: it names none, or one that the bundle does not hold.

        """
        variant, _, runner = text.partition("@")
        format, slash, precision = variant.partition("/")
        if not slash:
            raise InputError(f"variant: want FORMAT/PRECISION or with @RUNNER, got {text!r}")
        bundle.variant(format, precision)
        return cls(bundle, format, precision, runner or None)

    @property
    def variant(self) -> str:
        """Return format/precision."""
        return f"{self.format}/{self.precision}"


def all_variants(bundle: Bundle) -> tuple[Choice, ...]:
    """Return every variant that a bundle holds."""
    return tuple(Choice(bundle, f, p) for f, by in bundle.manifest.variants.items() for p in by)


def empty_bench() -> Bench:
    """Return the record of this machine now, to which measurements are added."""
    return Bench(
        tool=f"pocketportrait {__version__}",
        machine=describe_machine(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        load_1m=read_load(),
    )


def measure_variants(
    choices: Sequence[Choice], options: BenchOptions | None = None, tell: Tell = lambda _: None
) -> tuple[VariantBench, ...]:
    """Measure variants one after the other; one that cannot be timed here says why.

    Args:
        choices: the variants.
        options: see `BenchOptions`.
        tell: called with a variant's name before it is measured.

    Raises:
        InputError: a file that does not load, or a bundle without golden vectors.

    """
    options = options or BenchOptions()
    found = []
    for choice in choices:
        tell(choice.variant)
        if (skipped := _skipped(choice)) is not None:
            found.append(skipped)
            continue
        with VariantProcess(job_of(choice, options)) as process:
            frames = process.ask("frames", options.warmup + options.rounds)
            found.append(_measured(choice, options, process, frames))
    return tuple(found)


def compare_variants(
    a: Choice, b: Choice, options: BenchOptions | None = None, tell: Tell = lambda _: None
) -> tuple[tuple[VariantBench, VariantBench], Comparison]:
    """Measure two variants in turns and judge B against A.

    Raises:
        InputError: as `measure_variants`; or one of them can only be emulated here.
        MissingToolError: one of them cannot be run here.

    """
    options = options or BenchOptions()
    for choice in (a, b):
        if is_emulated(choose_runner(choice.format, choice.runner)):
            raise InputError(
                f"{choice.variant}: want a variant that this machine can time, got one that is only"
                " evaluated here; choose another"
            )
    series: tuple[list[list[float]], list[list[float]]] = ([], [])
    with ExitStack() as stack:
        both = [stack.enter_context(VariantProcess(job_of(c, options))) for c in (a, b)]
        tell(f"{a.variant} and {b.variant} in turns")
        order = np.random.default_rng(options.bounds.seed)
        for _ in range(options.warmup + options.rounds):
            for which in order.permutation(2):
                series[which].extend(both[which].ask("frames", 1))
        names = _names(a, b)
        found = [
            _measured(c, options, process, frames)
            for c, process, frames in zip((a, b), both, series, strict=True)
        ]
    comparison = compare_rounds(
        (names[0], found[0].frame_ms), (names[1], found[1].frame_ms), options.bounds
    )
    return (found[0], found[1]), comparison


def measure_sustained(
    choice: Choice,
    seconds: float,
    options: BenchOptions | None = None,
    *,
    minute_s: float = MINUTE_S,
    tell: Tell = lambda _: None,
) -> Sustained:
    """Draw frames without a pause and tell what each minute cost, and how warm and fast the machine was.

    Args:
        choice: the variant.
        seconds: how long; a last minute that is not whole counts from a tenth on.
        options: see `BenchOptions`.
        minute_s: length of a minute.
        tell: called before every minute.

    Raises:
        InputError: an emulated variant, or less than a second.
        MissingToolError: the variant cannot be run here.

    """
    options = options or BenchOptions()
    if seconds < 1:
        raise InputError(f"sustained: want a second at least, got {seconds:g} s")
    if is_emulated(choose_runner(choice.format, choice.runner)):
        raise InputError(
            f"{choice.variant}: want a variant that this machine can time; choose another"
        )
    minutes: list[Minute] = []
    with VariantProcess(job_of(choice, options)) as process:
        process.ask("frames", options.warmup)
        start = time.perf_counter()
        while (left := seconds - (time.perf_counter() - start)) > minute_s / 10 or not minutes:
            tell(f"minute {len(minutes) + 1}")
            frames = [sum(parts) for parts in process.ask("frames_for", min(left, minute_s))]
            timing = Timing.of(frames)
            minutes.append(
                Minute(
                    minute=len(minutes),
                    frames=len(frames),
                    p50_ms=timing.p50_ms,
                    p95_ms=timing.p95_ms,
                    clock_mhz=read_clock_mhz(),
                    temperature_c=read_temperature_c(),
                )
            )
        passed = time.perf_counter() - start
    kinds = {"clock": minutes[0].clock_mhz, "thermometer": minutes[0].temperature_c}
    notes = tuple(f"this machine shows no {kind}" for kind, value in kinds.items() if value is None)
    return Sustained(variant=choice.variant, seconds=passed, minutes=tuple(minutes), notes=notes)


def job_of(choice: Choice, options: BenchOptions) -> Job:
    """Return what the process of a variant loads.

    Raises:
        InputError: the bundle does not hold the variant, or there is no such runner.
        MissingToolError: no runner of the format can be used here.

    """
    runner = choose_runner(choice.format, choice.runner)
    root = str(choice.bundle.root)
    return Job(root, choice.format, choice.precision, runner, options.threads)


def _skipped(choice: Choice) -> VariantBench | None:
    """Return the record of a variant that has no latency here, None for one that has."""
    row = unmeasured(choice, choice.runner or choice.format)
    try:
        runner = choose_runner(choice.format, choice.runner)
    except MissingToolError as error:
        return row.model_copy(update={"skipped": str(error)})
    if is_emulated(runner):
        update = {
            "runner": runner,
            "emulated": True,
            "skipped": f"{runner} is an evaluator: no latency",
        }
        return row.model_copy(update=update)
    return None


def unmeasured(choice: Choice, runner: str, target: str = "") -> VariantBench:
    """Return the record of a variant that was not measured yet.

    Args:
        choice: the variant.
        runner: who runs it.
        target: where; empty for a process of this machine.

    """
    manifest = (choice.bundle.root / MANIFEST).read_bytes()
    return VariantBench(
        bundle=choice.bundle.root.name,
        bundle_sha256=hashlib.sha256(manifest).hexdigest(),
        variant=choice.variant,
        runner=runner,
        target=target,
        skipped="not measured yet",
    )


def _measured(
    choice: Choice,
    options: BenchOptions,
    process: VariantProcess,
    frames: Sequence[Sequence[float]],
) -> VariantBench:
    """Return the record of a variant whose frames were drawn; photos and facts are asked for now."""
    warmup = options.warmup
    series = {"motion": [f[0] for f in frames], "render": [f[1] for f in frames]}
    series["appearance"] = process.ask("photos", warmup + max(options.rounds // 4, LEAST_ROUNDS))
    state = process.ask("process")
    units = process.ask("residency") if options.residency else {g: {} for g in GRAPHS}
    graphs = tuple(
        GraphBench.model_validate(
            {
                "graph": graph,
                **process.facts["graphs"][graph],
                **units[graph],
                "warm": Timing.of(series[graph], warmup=warmup),
            }
        )
        for graph in GRAPHS
    )
    whole = [sum(parts) for parts in frames]
    job = job_of(choice, options)
    facts = unmeasured(choice, job.runner).model_dump() | state
    return VariantBench.model_validate(
        facts
        | {
            "skipped": "",
            "threads": options.threads,
            "import_ms": process.facts["import_ms"],
            "graphs": graphs,
            "frame": Timing.of(whole, warmup=warmup),
            "frame_ms": tuple(whole[warmup:]),
        }
    )


def _names(a: Choice, b: Choice) -> tuple[str, str]:
    """Return names that tell two variants apart."""
    if a.bundle.root != b.bundle.root:
        pair = a.bundle.root.name, b.bundle.root.name
        if pair[0] == pair[1]:
            pair = ("A", "B")
        return f"{pair[0]} {a.variant}", f"{pair[1]} {b.variant}"
    runners = [f" ({c.runner})" if c.runner else "" for c in (a, b)]
    names = f"{a.variant}{runners[0]}", f"{b.variant}{runners[1]}"
    return names if names[0] != names[1] else (names[0], f"{names[1]} again")


def read_duration_s(text: str) -> float:
    """Return the seconds of a duration such as 30m, 90s or 1h.

    Raises:
        InputError: it is none.

    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError as error:
        raise InputError(f"duration: want such as 30m, 90s or 1h, got {text!r}") from error
    return seconds
