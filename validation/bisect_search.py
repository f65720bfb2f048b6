"""The first operation where a variant leaves the noise band of a reference variant of its bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import ExitCode, InputError
from pocketportrait.validation.bisect_matching import Band, Diverged, diverged
from pocketportrait.validation.bisect_trace import Trace, Tracer, open_tracer
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.preflight.graph import Graph, Node
from pocketportrait.validation.samples import Sample, golden_samples, noise_floors
from pocketportrait.validation.tolerance import Arithmetic, arithmetic_of, tolerance_for

REFERENCES = (("onnx", "fp32"), ("tflite", "fp32"), ("coreml", "fp32"))  # the first that is another
LAYOUTS = ((0, 3, 1, 2), (0, 2, 3, 1))  # channels to the front, to the end
Tell = Callable[[str], None]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Frozen):
    """One operation of one file."""

    variant: str
    node: str
    operator: str


class Divergence(_Frozen):
    """Where a graph of the variant goes wrong."""

    graph: str
    sample: str
    outputs: tuple[str, ...]  # of the contract, that are outside the band
    module: str  # path of the torch module, as the ONNX file's weights name it
    found: Place  # the first operation of the variant that is wrong
    expected: Place  # what the reference does there
    missing: bool  # the variant has no operation of the expected kind there
    region: tuple[Place, ...]  # the variant's operations from the last right value to `found`
    max_abs: float | None  # of the two operations' results, where their shapes can be told to agree
    psnr_db: float | None


class BisectReport(_Frozen):
    """What a bisection found: one divergence a graph at most."""

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    bundle: str
    variant: str
    reference: str
    graphs: tuple[str, ...]  # that were looked at
    samples: int
    divergences: tuple[Divergence, ...]

    def exit_code(self) -> ExitCode:
        """Return 1 if a graph diverges."""
        return ExitCode.GATE_FAILED if self.divergences else ExitCode.DONE

    def to_json(self, path: Path) -> None:
        """Write the report, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


def bisect_report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a bisect report."""
    schema = BisectReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@dataclass(frozen=True)
class Evidence:
    """A divergence and the two traces that show it."""

    divergence: Divergence
    found: Node
    expected: Node
    variant: Trace
    reference: Trace


@dataclass(frozen=True)
class _Job:
    bundle: Bundle
    variant: tuple[str, str]
    reference: tuple[str, str]
    arithmetic: Arithmetic


def bisect(
    bundle: Bundle,
    variant: str,
    *,
    graphs: tuple[str, ...] = (),
    reference: str | None = None,
    tell: Tell = lambda _: None,
) -> tuple[BisectReport, tuple[Evidence, ...]]:
    """Look for the first wrong operation of every graph on the golden inputs.

    Args:
        bundle: holds the variant and a reference.
        variant: format/precision.
        graphs: only these; all by default.
        reference: format/precision; by default onnx/fp32, or for itself another fp32 variant.
        tell: called with a line before each graph.

    Returns:
        The report, and for every divergence what a repro is made of.

    Raises:
        InputError: no such variant or graph, no reference, or no golden inputs.
        MissingToolError: an engine or reader is not installed.

    """
    own = _pair(bundle, variant)
    other = _pair(bundle, reference) if reference else _reference(bundle, own)
    if own == other:
        raise InputError(f"reference: want another variant than {variant}, got the same")
    facts = bundle.variant(*own)
    arithmetic = arithmetic_of(own[1], facts.weights, facts.activations)
    job = _Job(bundle, own, other, arithmetic)
    names = graphs or tuple(facts.graphs)
    if unknown := [name for name in names if name not in facts.graphs]:
        raise InputError(f"--graph: want some of {', '.join(facts.graphs)}, got {unknown[0]!r}")
    found: list[Evidence] = []
    samples = 0
    for name in names:
        tell(name)
        feeds = list(golden_samples(bundle, name))
        if not feeds:
            raise InputError(f"{name}: want golden inputs, got none; export the bundle again")
        samples += len(feeds)
        ours, theirs = (open_tracer(bundle, *pair, name) for pair in (own, other))
        looks = (_look(job, sample, ours, theirs) for sample in feeds)
        first = next((evidence for evidence in looks if evidence is not None), None)
        found += [first] if first is not None else []
    report = BisectReport(
        bundle=bundle.root.name,
        variant="/".join(own),
        reference="/".join(other),
        graphs=names,
        samples=samples,
        divergences=tuple(e.divergence for e in found),
    )
    return report, tuple(found)


def _pair(bundle: Bundle, name: str) -> tuple[str, str]:
    held = [(f, p) for f, by in bundle.manifest.variants.items() for p in by]
    format, _, precision = name.partition("/")
    if (format, precision) not in held:
        names = ", ".join("/".join(pair) for pair in held)
        raise InputError(f"--variant: want one of {names}, got {name!r}")
    return format, precision


def _reference(bundle: Bundle, own: tuple[str, str]) -> tuple[str, str]:
    for pair in REFERENCES:
        if pair != own and pair[1] in bundle.manifest.variants.get(pair[0], {}):
            return pair
    raise InputError(
        f"{bundle.root.name}: want an fp32 variant beside {'/'.join(own)} to compare with, got none;"
        " export the bundle with -p fp32"
    )


def _look(job: _Job, sample: Sample, our: Tracer, their: Tracer) -> Evidence | None:
    ours, theirs = our(sample.feed), their(sample.feed)
    floors = noise_floors(job.bundle, sample.graph)
    wrong: dict[str, Parity] = {}
    for spec in job.bundle.graph_spec(sample.graph).outputs:
        want = theirs.results[spec.name]
        parity = Parity.of(want, ours.results[spec.name])
        tolerance = tolerance_for(job.arithmetic, spec, want, floors.get(spec.name))
        if tolerance.complaint(parity):
            wrong[spec.name] = parity
    if not wrong:
        return None
    band = Band.of(job.arithmetic)
    for parity in wrong.values():
        band = band.without(parity)
    bad = diverged(ours, theirs, band, {ours.outputs[name] for name in wrong})
    lost = diverged(theirs, ours, band, {theirs.outputs[name] for name in wrong})
    return _evidence(job, sample, tuple(wrong), (ours, theirs), bad, lost.roots[0])


def _evidence(
    job: _Job,
    sample: Sample,
    wrong: tuple[str, ...],
    traces: tuple[Trace, Trace],
    bad: Diverged,
    expected: Node,
) -> Evidence:
    ours, theirs = traces
    found = bad.roots[0]
    variant, reference = "/".join(job.variant), "/".join(job.reference)
    onnx = ours.graph if job.variant[0] == "onnx" else theirs.graph
    node = found if job.variant[0] == "onnx" else expected
    before = bad.nodes[: bad.nodes.index(found) + 1]
    parity = aligned_parity(
        ours.values[found.outputs[0].name], theirs.values[expected.outputs[0].name]
    )
    divergence = Divergence(
        graph=sample.graph,
        sample=sample.name,
        outputs=wrong,
        module=module_of(onnx, node),
        found=_place(variant, found),
        expected=_place(reference, expected),
        missing=found.kind != expected.kind,
        region=tuple(_place(variant, one) for one in before),
        max_abs=parity.max_abs if parity else None,
        psnr_db=parity.psnr_db if parity else None,
    )
    return Evidence(divergence, found, expected, ours, theirs)


def module_of(graph: Graph, node: Node) -> str:
    """Return the torch module of an ONNX node: by its weights, else the one whose result it takes."""
    after = ""
    here: Node | None = node
    seen: set[str] = set()
    while here is not None and here.name not in seen:
        seen.add(here.name)
        for value in here.inputs:
            if value.fixed and value.name.rpartition(".")[2] in ("weight", "bias"):
                return after + value.name.rpartition(".")[0]
        after = "after "
        makers = [graph.maker(value) for value in here.computed]
        here = next((maker for maker in makers if maker is not None), None)
    return "before any module"


def _place(variant: str, node: Node) -> Place:
    return Place(variant=variant, node=node.name, operator=node.operator)


def aligned_parity(got: Array, want: Array) -> Parity | None:
    """Compare two results, one of which may have its channels last; None if their shapes disagree."""
    forms = [got, *([got.transpose(o) for o in LAYOUTS] if got.ndim == want.ndim == 4 else [])]
    fitting = [form for form in forms if form.squeeze().shape == want.squeeze().shape]
    if not fitting or got.dtype.kind != "f" or not np.isfinite(want).all():
        return None
    parities = [Parity.of(want.squeeze(), form.squeeze()) for form in fitting]
    return max(parities, key=lambda parity: parity.psnr_db)
