"""What a driving frame takes on targets whose times mean something: a browser, a host over ssh, this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.protocol import Job, Outcome, Target, execute
from pocketportrait.runtime.targets.record import DeviceRecord
from pocketportrait.validation.bench_record import Timing
from pocketportrait.validation.samples import golden_samples

FRAME = ("motion", "render")  # what every driving frame pays


class GraphTime(BaseModel):
    """One graph on one target."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    load_ms: float
    first_ms: float
    warm: Timing
    residency: str  # what ran the passes, where the engine can tell


class TargetTime(BaseModel):
    """One variant on one target, or why it was not timed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    variant: str
    target: str
    skipped: str = ""
    device: DeviceRecord | None = None
    graphs: dict[str, GraphTime] = {}

    @property
    def frame_ms(self) -> float | None:
        """Return the medians of `motion` and `render` together."""
        if self.skipped:
            return None
        return sum(self.graphs[graph].warm.p50_ms for graph in FRAME)


class TargetTimes(BaseModel):
    """All of them, as `targets time --json` writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    bundle: str
    rows: tuple[TargetTime, ...]


def time_targets(
    bundle: Bundle,
    targets: Sequence[Target],
    *,
    precisions: Sequence[str] | None = None,
    warmup: int = 5,
    repeats: int = 30,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> TargetTimes:
    """Time every variant on every target that runs its format.

    Args:
        bundle: an open one.
        targets: where; an emulated one is a row that says why it has no times.
        precisions: of variants; None takes all.
        warmup: passes of a graph that are not counted.
        repeats: and that are.
        threads: None lets the engine choose.
        tell: called with a line before each variant.

    Raises:
        InputError: nothing is to be timed, or a file is refused.
        TargetError: a target broke off.

    """
    rows = []
    for format, precision, target in _cells(bundle, targets, precisions):
        tell(f"{format}/{precision} on {target.name}")
        row = TargetTime(variant=f"{format}/{precision}", target=target.name)
        if not target.traits.can_latency:
            rows.append(row.model_copy(update={"skipped": "it is emulated: no times"}))
            continue
        jobs = {
            graph: _job(bundle, format, precision, graph, (warmup, repeats, threads))
            for graph in GRAPHS
        }
        try:
            outcomes = {graph: execute(target, job) for graph, job in jobs.items()}
        except MissingToolError as error:
            rows.append(row.model_copy(update={"skipped": str(error)}))
            continue
        times = {graph: _time(outcome, warmup) for graph, outcome in outcomes.items()}
        device = outcomes["render"].device
        rows.append(row.model_copy(update={"device": device, "graphs": times}))
    if not rows:
        raise InputError(f"{bundle.root.name}: no target here runs a variant of it; name another")
    return TargetTimes(bundle=bundle.root.name, rows=tuple(rows))


def write_times(times: TargetTimes, path: Path) -> None:
    """Write the record as JSON."""
    atomic.write_bytes(path, times.model_dump_json(indent=2).encode() + b"\n")


def target_times_schema() -> dict[str, Any]:
    """Return the JSON Schema, published as `docs/schemas/target-times-1.json`."""
    schema = TargetTimes.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _cells(
    bundle: Bundle, targets: Sequence[Target], precisions: Sequence[str] | None
) -> Iterator[tuple[str, str, Target]]:
    for format, variants in bundle.manifest.variants.items():
        for precision in variants:
            for target in targets:
                wanted = precisions is None or precision in precisions
                if wanted and format in target.traits.formats:
                    yield format, precision, target


def _job(
    bundle: Bundle, format: str, precision: str, graph: str, passes: tuple[int, int, int | None]
) -> Job:
    declared = bundle.variant(format, precision).graphs[graph]
    sample = next(golden_samples(bundle, graph), None)
    if sample is None:
        raise InputError(f"{graph}: want golden vectors to time it on, got none; export again")
    warmup, repeats, threads = passes
    return Job(
        model=bundle.file(declared.path),
        format=format,
        graph=bundle.graph_spec(graph),
        declared=declared,
        feeds={sample.name: sample.feed},
        threads=threads,
        warmup=warmup,
        repeats=repeats,
    )


def _time(outcome: Outcome, warmup: int) -> GraphTime:
    timings = outcome.timings
    assert timings is not None  # of every target that can report it
    warm = Timing.of(timings.passes_ms).model_copy(update={"warmup": warmup})
    return GraphTime(
        load_ms=timings.load_ms,
        first_ms=timings.first_ms,
        warm=warm,
        residency=outcome.residency,
    )
