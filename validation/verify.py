"""Checks that every file of a bundle computes what torch computed, on every target that was asked for.

Opening a bundle has compared sizes and digests already; here files are run. Each variant replays the
golden vectors and, against the ONNX fp32 variant, fresh photos and frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.local import local_target
from pocketportrait.runtime.targets.protocol import Target
from pocketportrait.runtime.targets.registry import default_targets
from pocketportrait.validation.cells import replay_all
from pocketportrait.validation.checks import Check, Status, TargetFacts, VerifyReport
from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.replay import Cell, Devices, Home, replay
from pocketportrait.validation.samples import (
    Sample,
    fresh_samples,
    golden_samples,
    noise_floors,
)
from pocketportrait.validation.tolerance import FLOAT32_CEILING

REFERENCE = ("onnx", "fp32")  # what fresh samples are compared with, once its golden replay passed
REFERENCE_RUNNER = "onnxruntime"
FRESH_SEEDS = (1, 2)

Tell = Callable[[str], None]
Names = list[tuple[str, str]]  # format and precision


def verify(
    bundle: Bundle,
    *,
    formats: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    runner: str | None = None,
    targets: Sequence[Target] | None = None,
    tell: Tell = lambda _: None,
) -> VerifyReport:
    """Check a bundle that was opened, and so has the files that its manifest lists.

    Args:
        bundle: the bundle.
        formats: only these; all by default.
        precisions: only these; all by default.
        runner: the runner's name, for the one format that has it; by default the best there is.
        targets: where variants are run: each on every target that runs its format; by default on
            this machine, with one runner a format.
        tell: called with a line before each variant.

    Raises:
        InputError: a format, precision or runner was asked for that there is not, or both a runner
            and targets.

    """
    start = time.perf_counter()
    if runner and targets:
        raise InputError("verify: want a runner or targets, got both; say local:RUNNER as a target")
    chosen = _chosen(bundle, formats, precisions)
    where = targets or default_targets(list(dict.fromkeys(f for f, _ in chosen)), runner)
    cells = [
        Cell(bundle, format, precision, target)
        for format, precision in chosen
        for target in where
        if format in target.traits.formats
    ]
    devices: Devices = {}
    checks = [
        *_files(bundle),
        *_golden_files(bundle),
        *_uncovered(chosen, cells),
        *_matrix(bundle, cells, devices, tell, placed=targets is not None),
    ]
    return VerifyReport(
        bundle=bundle.root.name,
        machine=describe_machine(),
        seconds=time.perf_counter() - start,
        targets=tuple(TargetFacts.of(target, devices.get(target.name)) for target in where),
        checks=tuple(checks),
    )


def _chosen(
    bundle: Bundle, formats: Sequence[str] | None, precisions: Sequence[str] | None
) -> Names:
    held = [(f, p) for f, by in bundle.manifest.variants.items() for p in by]
    chosen = [
        (f, p)
        for f, p in held
        if (not formats or f in formats) and (not precisions or p in precisions)
    ]
    absent = {*(formats or ())} - {f for f, _ in held} | {*(precisions or ())} - {
        p for _, p in held
    }
    if absent or not chosen:
        names = ", ".join("/".join(pair) for pair in held) or "no variant"
        raise InputError(
            f"verify: want a variant of this bundle, which holds {names}; got {sorted(absent)}"
        )
    chosen.sort(key=lambda pair: pair != REFERENCE)  # stable: the reference first
    return chosen


def _uncovered(chosen: Names, cells: Sequence[Cell]) -> Iterator[Check]:
    """Say which variants no target runs: they did not pass."""
    for format, precision in chosen:
        name = f"{format}/{precision}"
        if name not in {cell.name for cell in cells}:
            message = f"no target here runs {format}; name one that does, or choose with --format"
            yield Check(kind="run", status=Status.SKIP, variant=name, message=message)


def _matrix(
    bundle: Bundle, cells: Sequence[Cell], devices: Devices, tell: Tell, *, placed: bool
) -> Iterator[Check]:
    """Replay every cell; the reference's own, or one made for it, gives fresh samples first.

    A reference that was not chosen is replayed all the same, and said nothing of if it passes.
    """
    fresh: list[Sample] = []
    own: Cell | None = None
    home = Home()
    if cells and REFERENCE[1] in bundle.manifest.variants.get(REFERENCE[0], {}):
        target = local_target(REFERENCE_RUNNER)
        listed = (
            c for c in cells if c.name == "/".join(REFERENCE) and c.target.name == target.name
        )
        own = next(listed, None)
        reference = own or Cell(bundle, *REFERENCE, target)
        tell(_line(reference, placed))
        found = list(replay(reference, (), devices if own else {}, home))
        if own:
            yield from found
        fresh, why = _fresh(reference, found)
        yield from why
    others = [cell for cell in cells if cell is not own]
    yield from replay_all(others, fresh, devices, home, lambda cell: tell(_line(cell, placed)))


def _line(cell: Cell, placed: bool) -> str:
    return f"{cell.name} on {cell.target.name}" if placed else cell.name


def _fresh(reference: Cell, found: Sequence[Check]) -> tuple[list[Sample], list[Check]]:
    """Return fresh samples from the reference variant, or why there are none."""
    bad = [c for c in found if c.status in (Status.FAIL, Status.SKIP)]
    name = reference.name
    if bad:
        message = f"no fresh samples, because {name} {bad[0].graph} did not pass itself"
        return [], [Check(kind="fresh", status=Status.WARN, variant=name, message=message)]

    def infer(graph: str, feed: dict[str, Array]) -> dict[str, Array]:
        return dict(reference.run(graph, {"fresh": feed}).outputs["fresh"])

    specs = {name: reference.bundle.graph_spec(name) for name in GRAPHS}
    samples = [s for seed in FRESH_SEEDS for s in fresh_samples(specs, infer, seed=seed)]
    return samples, []


def _files(bundle: Bundle) -> Iterator[Check]:
    count = len(bundle.manifest.files)
    total = sum(f.bytes for f in bundle.manifest.files.values())
    message = f"{count} files, {total} bytes: sizes and sha256 agree"
    yield Check(kind="files", status=Status.PASS, message=message)


def _golden_files(bundle: Bundle) -> Iterator[Check]:
    """Judge the golden vectors themselves: a bundle that cannot be checked is not one that passes."""
    for graph in GRAPHS:
        check = Check(kind="golden", status=Status.FAIL, graph=graph)
        if graph not in bundle.manifest.graphs:
            yield check.model_copy(
                update={"message": "the contract's graph is not in the manifest"}
            )
            continue
        try:
            samples = list(golden_samples(bundle, graph))
        except InputError as error:
            yield check.model_copy(update={"message": str(error)})
            continue
        if not samples:
            yield check.model_copy(update={"message": "no golden vectors; export the bundle again"})
        yield from _weak_golden(bundle, samples)


def _weak_golden(bundle: Bundle, samples: Sequence[Sample]) -> Iterator[Check]:
    for sample in samples:
        codes = [
            sample.feed[name] for name in ("source_code", "driving_code") if name in sample.feed
        ]
        if len(codes) == 2 and (codes[0] == codes[1]).all():
            message = "source and driving code are equal: a file that ignores one would pass"
            yield Check(
                kind="golden",
                status=Status.WARN,
                graph=sample.graph,
                sample=sample.name,
                message=message,
            )
    for graph in {s.graph for s in samples}:
        for tensor, floor in noise_floors(bundle, graph).items():
            if floor > FLOAT32_CEILING:
                message = f"float32 itself is {floor:.2g} from float64: more than a variant may be"
                yield Check(
                    kind="golden", status=Status.WARN, graph=graph, tensor=tensor, message=message
                )
