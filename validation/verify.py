"""Checks that every file of a bundle computes what torch computed.

Opening a bundle has compared sizes and digests already; here files are run. Each variant replays the
golden vectors and, against the ONNX fp32 variant, fresh photos and frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pocketportrait.bundle import Bundle, TensorModel, Variant
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError, MissingToolError, PortraitError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import available_runners, open_runner
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.samples import (
    Sample,
    fresh_samples,
    golden_samples,
    noise_floors,
)
from pocketportrait.validation.tolerance import FLOAT32_CEILING, arithmetic_of, tolerance_for

REFERENCE = ("onnx", "fp32")  # what fresh samples are compared with, once its golden replay passed
FRESH_SEEDS = (1, 2)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """One variant under test."""

    bundle: Bundle
    format: str
    precision: str
    variant: Variant
    runner: str | None

    @property
    def name(self) -> str:
        """Return format/precision."""
        return f"{self.format}/{self.precision}"

    @property
    def runner_name(self) -> str:
        """Return the runner that this variant is run with."""
        usable = [s.name for s in available_runners(self.format) if s.available]
        return self.runner or next(iter(usable), "")

    def open(self, graph: str) -> ContractRunner:
        """Return a runner of one graph that takes and gives the contract's layout."""
        return open_runner(self.bundle, self.format, self.precision, graph, runner=self.runner)


def verify(
    bundle: Bundle,
    *,
    formats: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    runner: str | None = None,
    tell: Tell = lambda _: None,
) -> VerifyReport:
    """Check a bundle that was opened, and so has the files that its manifest lists.

    Args:
        bundle: the bundle.
        formats: only these; all by default.
        precisions: only these; all by default.
        runner: the runner's name, for the one format that has it; by default the best there is.
        tell: called with a line before each variant.

    Raises:
        InputError: a format or precision was asked for that the bundle does not hold.

    """
    start = time.perf_counter()
    subjects = _subjects(bundle, formats, precisions, runner)
    checks = [*_files(bundle), *_golden_files(bundle)]
    fresh: list[Sample] = []
    for subject in subjects:
        tell(subject.name)
        found = list(_variant(subject, fresh))
        checks += found
        if (subject.format, subject.precision) == REFERENCE:
            fresh, why = _fresh(subject, found)
            checks += why
    return VerifyReport(
        bundle=bundle.root.name,
        machine=describe_machine(),
        seconds=time.perf_counter() - start,
        checks=tuple(checks),
    )


def _subjects(
    bundle: Bundle,
    formats: Sequence[str] | None,
    precisions: Sequence[str] | None,
    runner: str | None,
) -> list[Subject]:
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
    chosen.sort(
        key=lambda pair: pair != REFERENCE
    )  # stable: the reference first, for fresh samples
    return [Subject(bundle, f, p, bundle.variant(f, p), runner) for f, p in chosen]


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


def _variant(subject: Subject, fresh: Sequence[Sample]) -> Iterator[Check]:
    for graph in subject.bundle.manifest.graphs:
        if graph in subject.variant.graphs:
            yield from _graph(subject, graph, [s for s in fresh if s.graph == graph])
        else:
            message = "this variant lacks the graph; export the bundle again"
            yield Check(
                kind="run", status=Status.FAIL, variant=subject.name, graph=graph, message=message
            )


def _graph(subject: Subject, graph: str, fresh: Sequence[Sample]) -> Iterator[Check]:
    check = Check(
        kind="run",
        status=Status.FAIL,
        variant=subject.name,
        graph=graph,
        runner=subject.runner_name,
    )
    yield _specs(subject, check)
    try:
        samples = [*golden_samples(subject.bundle, graph), *fresh]
        with subject.open(graph) as runner:  # compares the file's tensors with the manifest's
            for sample in samples:
                yield from _replay(subject, check, runner, sample)
    except MissingToolError as error:
        yield check.model_copy(update={"status": Status.SKIP, "message": str(error)})
    except PortraitError as error:
        yield check.model_copy(update={"message": str(error)})
    except Exception as error:
        # an engine may raise anything at a bad file: that is a failed check, not a crash of ours
        yield check.model_copy(
            update={"message": f"{type(error).__name__}: {error}".splitlines()[0]}
        )


def _specs(subject: Subject, check: Check) -> Check:
    """Compare the tensors that the manifest gives the file with those of the contract."""
    spec = subject.bundle.graph_spec(check.graph)
    declared = subject.variant.graphs[check.graph]
    wrong = [
        f"{side}: want {_named(want)}, got {_named(got)}"
        for side, want, got in (
            ("inputs", [(t.name, t.shape) for t in spec.inputs], _as_contract(declared.inputs)),
            ("outputs", [(t.name, t.shape) for t in spec.outputs], _as_contract(declared.outputs)),
        )
        if sorted(want) != sorted(got)
    ]
    status = Status.FAIL if wrong else Status.PASS
    return check.model_copy(update={"kind": "specs", "status": status, "message": "; ".join(wrong)})


Named = list[tuple[str, tuple[int, ...]]]


def _as_contract(models: Sequence[TensorModel]) -> Named:
    """Return names and shapes, channel-first."""
    found = []
    for model in models:
        shape = model.shape
        if model.layout == "NHWC" and len(shape) == 4:
            shape = (shape[0], shape[3], shape[1], shape[2])
        found.append((model.name, shape))
    return found


def _named(tensors: Named) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(tensors))


def _replay(
    subject: Subject, check: Check, runner: ContractRunner, sample: Sample
) -> Iterator[Check]:
    kind = "golden" if sample.name.startswith("golden") else "fresh"
    got = runner.infer(dict(sample.feed))
    variant = subject.variant
    arithmetic = arithmetic_of(subject.precision, variant.weights, variant.activations)
    floors = noise_floors(subject.bundle, check.graph)
    for spec in subject.bundle.graph_spec(check.graph).outputs:
        row = check.model_copy(update={"kind": kind, "sample": sample.name, "tensor": spec.name})
        if spec.name not in got:
            yield row.model_copy(update={"message": f"want this output, got {sorted(got)}"})
            continue
        want = sample.want[spec.name]
        tolerance = tolerance_for(arithmetic, spec, want, floors.get(spec.name))
        parity = Parity.of(want, got[spec.name], peak=1.0 if spec.is_image else None)
        yield row.with_parity(parity, tolerance)


def _fresh(subject: Subject, found: Sequence[Check]) -> tuple[list[Sample], list[Check]]:
    """Return fresh samples from the reference variant, or why there are none."""
    bad = [c for c in found if c.status in (Status.FAIL, Status.SKIP)]
    if bad:
        message = f"no fresh samples, because {subject.name} {bad[0].graph} did not pass itself"
        return [], [Check(kind="fresh", status=Status.WARN, variant=subject.name, message=message)]

    def infer(graph: str, feed: dict[str, Array]) -> dict[str, Array]:
        with subject.open(graph) as runner:
            return runner.infer(feed)

    specs = {name: subject.bundle.graph_spec(name) for name in GRAPHS}
    samples = [s for seed in FRESH_SEEDS for s in fresh_samples(specs, infer, seed=seed)]
    return samples, []
