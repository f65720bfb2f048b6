"""One cell of the matrix: a variant's graphs replayed on one target and judged by numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pocketportrait.bundle import Bundle, TensorModel, Variant
from pocketportrait.contract import Array
from pocketportrait.errors import MissingToolError, PortraitError
from pocketportrait.runtime.targets.protocol import Job, Outcome, Target, execute
from pocketportrait.runtime.targets.record import DeviceRecord
from pocketportrait.validation.checks import Check, Status
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.samples import Sample, golden_samples, noise_floors
from pocketportrait.validation.tolerance import arithmetic_of, tolerance_for

Devices = dict[str, DeviceRecord]  # by target
Named = list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Cell:
    """One variant on one target."""

    bundle: Bundle
    format: str
    precision: str
    target: Target

    @property
    def name(self) -> str:
        """Return the variant's format/precision."""
        return f"{self.format}/{self.precision}"

    @property
    def variant(self) -> Variant:
        """Return the variant."""
        return self.bundle.variant(self.format, self.precision)

    def run(self, graph: str, feeds: Mapping[str, Mapping[str, Array]]) -> Outcome:
        """Run feeds, by name and in the contract's layout, through one graph.

        Raises:
            PortraitError: as `runtime.targets.protocol.execute`.

        """
        declared = self.variant.graphs[graph]
        job = Job(
            model=self.bundle.file(declared.path),
            format=self.format,
            graph=self.bundle.graph_spec(graph),
            declared=declared,
            feeds=feeds,
        )
        return execute(self.target, job)


def replay(cell: Cell, fresh: Sequence[Sample], devices: Devices) -> Iterator[Check]:
    """Yield the checks of every graph of a cell.

    Args:
        cell: what runs where.
        fresh: samples beside the golden ones.
        devices: told what each target turned out to be.

    """
    for graph in cell.bundle.manifest.graphs:
        if graph in cell.variant.graphs:
            yield from _graph(cell, graph, [s for s in fresh if s.graph == graph], devices)
        else:
            yield _check(cell, graph).model_copy(
                update={"message": "this variant lacks the graph; export the bundle again"}
            )


def _check(cell: Cell, graph: str) -> Check:
    return Check(
        kind="run",
        status=Status.FAIL,
        variant=cell.name,
        target=cell.target.name,
        graph=graph,
        runner=cell.target.engine(cell.format),
    )


def _graph(cell: Cell, graph: str, fresh: Sequence[Sample], devices: Devices) -> Iterator[Check]:
    check = _check(cell, graph)
    yield _specs(cell, check)
    try:
        samples = [*golden_samples(cell.bundle, graph), *fresh]
        if not samples:
            return  # a failed check of the bundle itself says so
        # compares the file's tensors with the manifest's
        outcome = cell.run(graph, {sample.name: sample.feed for sample in samples})
    except MissingToolError as error:
        yield check.model_copy(update={"status": Status.SKIP, "message": str(error)})
    except PortraitError as error:
        yield check.model_copy(update={"message": str(error)})
    except Exception as error:
        # an engine may raise anything at a bad file: that is a failed check, not a crash of ours
        yield check.model_copy(
            update={"message": f"{type(error).__name__}: {error}".splitlines()[0]}
        )
    else:
        devices[cell.target.name] = outcome.device
        floors = noise_floors(cell.bundle, graph)
        for sample in samples:
            yield from _compared(cell, check, sample, outcome.outputs[sample.name], floors)
        yield from _cost(cell, check, outcome)


def _specs(cell: Cell, check: Check) -> Check:
    """Compare the tensors that the manifest gives the file with those of the contract."""
    spec = cell.bundle.graph_spec(check.graph)
    declared = cell.variant.graphs[check.graph]
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


def _compared(
    cell: Cell,
    check: Check,
    sample: Sample,
    got: Mapping[str, Array],
    floors: Mapping[str, float],
) -> Iterator[Check]:
    kind = "golden" if sample.name.startswith("golden") else "fresh"
    variant = cell.variant
    arithmetic = arithmetic_of(cell.precision, variant.weights, variant.activations)
    for spec in cell.bundle.graph_spec(check.graph).outputs:
        row = check.model_copy(update={"kind": kind, "sample": sample.name, "tensor": spec.name})
        if spec.name not in got:
            yield row.model_copy(update={"message": f"want this output, got {sorted(got)}"})
            continue
        want = sample.want[spec.name]
        tolerance = tolerance_for(arithmetic, spec, want, floors.get(spec.name))
        parity = Parity.of(want, got[spec.name], peak=1.0 if spec.is_image else None)
        yield row.with_parity(parity, tolerance)


def _cost(cell: Cell, check: Check, outcome: Outcome) -> Iterator[Check]:
    """Yield what a pass costs where the target counts that, or why it could not."""
    unit = cell.target.traits.cost_unit
    if not unit:
        return
    status = Status.SKIP if outcome.cost is None else Status.PASS
    yield check.model_copy(
        update={
            "kind": "cost",
            "status": status,
            "message": outcome.cost_note,
            "cost": outcome.cost,
            "cost_unit": unit,
        }
    )
