"""One cell of the matrix: a variant's graphs replayed on one target and judged by numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pocketportrait.bundle import Bundle, TensorModel, Variant
from pocketportrait.contract import Array
from pocketportrait.errors import MissingToolError, PortraitError
from pocketportrait.runtime.targets.local import local_target
from pocketportrait.runtime.targets.protocol import Job, Outcome, Target, execute
from pocketportrait.runtime.targets.record import DeviceRecord
from pocketportrait.validation.checks import Check, Status
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.samples import Sample, golden_samples, noise_floors
from pocketportrait.validation.tolerance import (
    Arithmetic,
    arithmetic_of,
    same_file_tolerance,
    tolerance_for,
)

Devices = dict[str, DeviceRecord]  # by target
AGAIN = "again"  # the first sample once more, after all others: the noise of the engine itself
# the engine of this machine that other targets' outputs of the same file are compared with
HOME = {"onnx": "onnxruntime", "tflite": "litert"}
Named = list[tuple[str, tuple[int, ...]]]
Outputs = Mapping[str, Mapping[str, Array]]  # by sample, by tensor


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

    @property
    def arithmetic(self) -> Arithmetic:
        """Return the rule that the variant falls under."""
        variant = self.variant
        return arithmetic_of(self.precision, variant.weights, variant.activations)

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


class Home:
    """What the files of a bundle give under this machine's own engines, each sample run once."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._kept: dict[tuple[str, str], dict[str, Mapping[str, Array]]] = {}
        self._one_asks = threading.Lock()

    @staticmethod
    def is_home(cell: Cell) -> bool:
        """Say whether a cell is what others of its variant are compared with."""
        return cell.target.name == f"local:{HOME.get(cell.format)}"

    def keep(self, cell: Cell, graph: str, outputs: Outputs) -> None:
        """Remember what a cell gave."""
        if self.is_home(cell):
            self._kept.setdefault((cell.name, graph), {}).update(outputs)

    def outputs(self, cell: Cell, graph: str, samples: Sequence[Sample]) -> Outputs:
        """Return what a cell's file gives here.

        Raises:
            PortraitError: it cannot be run here.

        """
        with self._one_asks:
            kept = self._kept.get((cell.name, graph), {})
            if feeds := {s.name: s.feed for s in samples if s.name not in kept}:
                here = replace(cell, target=local_target(HOME[cell.format]))
                self.keep(here, graph, here.run(graph, feeds).outputs)
            return self._kept[cell.name, graph]


def replay(
    cell: Cell, fresh: Sequence[Sample], devices: Devices, home: Home | None = None
) -> Iterator[Check]:
    """Yield the checks of every graph of a cell.

    Args:
        cell: what runs where.
        fresh: samples beside the golden ones.
        devices: told what each target turned out to be.
        home: told what files give here, and asked for it.

    """
    home = home or Home()
    for graph in cell.bundle.manifest.graphs:
        if graph in cell.variant.graphs:
            samples = [s for s in fresh if s.graph == graph]
            yield from _graph(cell, graph, samples, devices, home)
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


def _graph(
    cell: Cell, graph: str, fresh: Sequence[Sample], devices: Devices, home: Home
) -> Iterator[Check]:
    check = _check(cell, graph)
    yield _specs(cell, check)
    try:
        samples = [*golden_samples(cell.bundle, graph), *fresh]
        if not samples:
            return  # a failed check of the bundle itself says so
        # compares the file's tensors with the manifest's
        feeds = {sample.name: sample.feed for sample in samples}
        outcome = cell.run(graph, feeds | {AGAIN: samples[0].feed})
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
        yield from _repeated(cell, check, outcome.outputs, samples[0].name, floors)
        home.keep(cell, graph, outcome.outputs)
        if cell.format in HOME and not home.is_home(cell):
            yield from _beside(cell, check, outcome.outputs, samples, home)
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
    arithmetic = cell.arithmetic
    for spec in cell.bundle.graph_spec(check.graph).outputs:
        row = check.model_copy(update={"kind": kind, "sample": sample.name, "tensor": spec.name})
        if spec.name not in got:
            yield row.model_copy(update={"message": f"want this output, got {sorted(got)}"})
            continue
        want = sample.want[spec.name]
        tolerance = tolerance_for(arithmetic, spec, want, floors.get(spec.name))
        parity = Parity.of(want, got[spec.name], peak=1.0 if spec.is_image else None)
        yield row.with_parity(parity, tolerance)


def _repeated(
    cell: Cell, check: Check, outputs: Outputs, first: str, floors: Mapping[str, float]
) -> Iterator[Check]:
    """Compare two passes of one feed: an engine may not differ from itself by more than its gate."""
    for spec in cell.bundle.graph_spec(check.graph).outputs:
        if spec.name not in outputs[first] or spec.name not in outputs[AGAIN]:
            continue  # said above
        once, again = outputs[first][spec.name], outputs[AGAIN][spec.name]
        if not np.isfinite(once).all():
            continue  # said above
        row = check.model_copy(update={"kind": "repeat", "sample": first, "tensor": spec.name})
        tolerance = same_file_tolerance(cell.arithmetic, spec, once, floors.get(spec.name))
        parity = Parity.of(once, again, peak=1.0 if spec.is_image else None)
        yield row.with_parity(parity, tolerance)


def _beside(
    cell: Cell, check: Check, outputs: Outputs, samples: Sequence[Sample], home: Home
) -> Iterator[Check]:
    """Compare what a file gave there with what the very same file gives here, at its worst sample."""
    row = check.model_copy(update={"kind": "here"})
    try:
        here = home.outputs(cell, check.graph, samples)
    except PortraitError as error:
        message = f"not compared with this machine: {error}"
        yield row.model_copy(update={"status": Status.WARN, "message": message})
        return
    floors = noise_floors(cell.bundle, check.graph)
    for spec in cell.bundle.graph_spec(check.graph).outputs:
        judged = []
        for sample in samples:
            want, got = here[sample.name].get(spec.name), outputs[sample.name].get(spec.name)
            if want is None or got is None or not np.isfinite(want).all():
                continue  # said above, or by the cell of this machine
            tolerance = same_file_tolerance(cell.arithmetic, spec, want, floors.get(spec.name))
            parity = Parity.of(want, got, peak=1.0 if spec.is_image else None)
            named = row.model_copy(update={"sample": sample.name, "tensor": spec.name})
            judged.append((parity.psnr_db, named.with_parity(parity, tolerance)))
        if judged:
            yield min(judged, key=lambda one: one[0])[1]


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
