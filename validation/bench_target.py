"""`bench --targets`: what variants cost on other machines, as the same records that this machine gives.

A target runs one graph a job, so that a frame here is one pass of `motion` and one of `render` from two
jobs, and inputs of the photo are converted in every pass. An emulated target has no times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pocketportrait import __version__
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.protocol import TIMEOUT_S, Job, Outcome, Target, execute
from pocketportrait.runtime.targets.record import DeviceRecord, TimingsRecord
from pocketportrait.validation.bench import MINUTE_S, BenchOptions, Choice, unmeasured
from pocketportrait.validation.bench_record import (
    Bench,
    GraphBench,
    Minute,
    Sustained,
    Timing,
    VariantBench,
)
from pocketportrait.validation.bench_statistic import LEAST_ROUNDS
from pocketportrait.validation.machine import Machine, describe_machine
from pocketportrait.validation.samples import golden_samples

FRAME = ("motion", "render")  # what every driving frame pays
UNTOLD = "the target does not tell which part of it ran an operator"

Tell = Callable[[str], None]


def measure_targets(
    choices: Sequence[Choice],
    targets: Sequence[Target],
    options: BenchOptions | None = None,
    *,
    sustained_s: float = 0.0,
    tell: Tell = lambda _: None,
) -> tuple[Bench, ...]:
    """Time variants on every target that runs their format.

    Args:
        choices: the variants; the runner that one may name is not asked for.
        targets: where; an emulated one, and one that is not there, are rows that say so.
        options: see `BenchOptions`; threads are the engine's there.
        sustained_s: then run `render` alone without a pause for so long; 0 for not.
        tell: called with a line before each variant.

    Returns:
        one benchmark a device and engine, in the order in which they were met; what could not be
        timed stands in one of this machine, at the end.

    Raises:
        InputError: no target runs a variant, or a file is refused.
        TargetError: a target broke off.

    """
    options = options or BenchOptions()
    found: dict[str, Bench] = {}
    skipped: list[VariantBench] = []
    for choice, target in _cells(choices, targets):
        tell(f"{choice.variant} on {target.name}")
        row = unmeasured(choice, target.engine(choice.format), target.name)
        try:
            if reason := target.probe().reason:
                raise MissingToolError(reason)
            if not target.traits.can_latency:  # known of a device once it was asked
                update = {"emulated": True, "skipped": f"{target.name} is emulated: no times"}
                skipped.append(row.model_copy(update=update))
                continue
            outcomes = {graph: execute(target, _job(choice, graph, options)) for graph in GRAPHS}
        except MissingToolError as error:
            skipped.append(row.model_copy(update={"skipped": str(error)}))
            continue
        device = outcomes["render"].device
        bench = found.setdefault(device.model_dump_json(), _bench(device))
        bench = _extended(bench, _measured(row, options, outcomes))
        if sustained_s:
            tell(f"{choice.variant} on {target.name} for {sustained_s:g} s")
            run = _sustained(choice, target, options, sustained_s, outcomes["render"])
            bench = bench.model_copy(update={"sustained": (*bench.sustained, run)})
        found[device.model_dump_json()] = bench
    if skipped:
        here = _of_machine(describe_machine()).model_copy(update={"variants": tuple(skipped)})
        return (*found.values(), here)
    return tuple(found.values())


def minutes_of(passes_ms: Sequence[float], minute_s: float = MINUTE_S) -> tuple[Minute, ...]:
    """Return what passes that followed one another took, minute by minute.

    Args:
        passes_ms: in their order; one belongs to the minute that it began in.
        minute_s: length of a minute; a last one that is not whole counts from a tenth on.

    """
    minutes: dict[int, list[float]] = {}
    passed_s = 0.0
    for pass_ms in passes_ms:
        minutes.setdefault(int(passed_s / minute_s), []).append(pass_ms)
        passed_s += pass_ms / 1e3
    last = max(minutes, default=0)
    if last and passed_s - last * minute_s < minute_s / 10:
        del minutes[last]
    rows = []
    for minute, frames in minutes.items():
        timing = Timing.of(frames)
        rows.append(
            Minute(
                minute=minute,
                frames=len(frames),
                p50_ms=timing.p50_ms,
                p95_ms=timing.p95_ms,
                clock_mhz=None,
                temperature_c=None,
            )
        )
    return tuple(rows)


def _cells(choices: Sequence[Choice], targets: Sequence[Target]) -> Iterator[tuple[Choice, Target]]:
    cells = [(c, t) for c in choices for t in targets if c.format in t.traits.formats]
    if not cells:
        names = ", ".join(choice.variant for choice in choices)
        raise InputError(f"bench: want a target that runs one of {names}, got none; name another")
    yield from cells


def _job(choice: Choice, graph: str, options: BenchOptions, *, repeats: int = 0) -> Job:
    declared = choice.bundle.variant(choice.format, choice.precision).graphs[graph]
    sample = next(golden_samples(choice.bundle, graph), None)
    if sample is None:
        raise InputError(f"{graph}: want golden vectors to time it on, got none; export again")
    often = options.rounds if graph in FRAME else max(options.rounds // 4, LEAST_ROUNDS)
    return Job(
        model=choice.bundle.file(declared.path),
        format=choice.format,
        graph=choice.bundle.graph_spec(graph),
        declared=declared,
        feeds={sample.name: sample.feed},
        threads=options.threads,
        warmup=options.warmup,
        repeats=repeats or often,
    )


def _bench(device: DeviceRecord) -> Bench:
    versions = {device.engine: device.engine_version, "numpy": device.numpy}
    return _of_machine(
        Machine(
            system=device.system,
            architecture=device.architecture,
            processor=device.processor,
            cores=device.cores,
            python=device.python,
            engines={name: version for name, version in versions.items() if version},
        )
    )


def _of_machine(machine: Machine) -> Bench:
    return Bench(
        tool=f"pocketportrait {__version__}",
        machine=machine,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _extended(bench: Bench, row: VariantBench) -> Bench:
    return bench.model_copy(update={"variants": (*bench.variants, row)})


def _measured(
    row: VariantBench, options: BenchOptions, outcomes: Mapping[str, Outcome]
) -> VariantBench:
    times = {graph: _times(outcome) for graph, outcome in outcomes.items()}
    graphs = tuple(
        GraphBench(
            graph=graph,
            load_ms=one.load_ms,
            first_ms=one.first_ms,
            warm=_timing(one.passes_ms, options),
            residency_note=outcomes[graph].residency or UNTOLD,
        )
        for graph, one in times.items()
    )
    frames = [sum(pair) for pair in zip(*(times[g].passes_ms for g in FRAME), strict=True)]
    held = [o.peak_rss_bytes for o in outcomes.values() if o.peak_rss_bytes is not None]
    facts = {
        "skipped": "",
        "threads": options.threads,
        "graphs": graphs,
        "frame": _timing(frames, options),
        "frame_ms": tuple(frames),
        "peak_rss_bytes": max(held, default=None),
    }
    return VariantBench.model_validate(row.model_dump() | facts)


def _times(outcome: Outcome) -> TimingsRecord:
    assert outcome.timings is not None  # of every target that can report it
    return outcome.timings


def _timing(passes_ms: Sequence[float], options: BenchOptions) -> Timing:
    return Timing.of(passes_ms).model_copy(update={"warmup": options.warmup})


def _sustained(
    choice: Choice, target: Target, options: BenchOptions, seconds: float, before: Outcome
) -> Sustained:
    """Run `render` for about so long: as often as its median says, and as long as that takes."""
    p50_ms = Timing.of(_times(before).passes_ms).p50_ms
    job = _job(choice, "render", options, repeats=max(int(seconds * 1e3 / p50_ms), LEAST_ROUNDS))
    patient = replace(job, timeout_s=TIMEOUT_S + 4 * seconds)
    passes_ms = _times(execute(target, patient)).passes_ms
    notes = (
        "render alone: a job runs one graph",
        f"{target.name} tells neither clock nor temperature",
    )
    passed_s = sum(passes_ms) / 1e3
    return Sustained(
        variant=f"{choice.variant} on {target.name}",
        seconds=passed_s,
        minutes=minutes_of(passes_ms),
        notes=notes,
    )
