"""Which value of one file is which value of another: by numbers, past layouts and fusions.

Converters rename, transpose, fold and fuse. What survives is the numbers: a value is explained if some
value of the other file holds the same numbers, within the noise band, whatever the order of its axes.
A value without its like is innocent where a result further on has its like again (the sum before a
fused activation, a border that another format pads inside its convolution).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.validation.bisect_trace import Trace
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.preflight.graph import Node
from pocketportrait.validation.tolerance import PSNR_DB, Arithmetic

# change the order or the form of numbers, not the numbers
STRUCTURAL = {
    *("pad", "padv2", "reshape", "transpose", "cast", "dequantize", "quantize", "squeeze"),
    *(
        "unsqueeze",
        "expand_dims",
        "flatten",
        "identity",
        "slice",
        "slice_by_index",
        "strided_slice",
    ),
    *("dequantizelinear", "quantizelinear"),
}
MOST_AXES = 4  # of a value whose orders of axes are tried
# measured between the formats' float32 files of the tiny student: 127 dB and 2e-6 at worst
FLOAT32_PSNR_DB = 110.0
FLOAT32_RELATIVE = 2e-5
TIGHTER_DB = 6.0  # than an output that is wrong and yet near: what leads there is nearer still


@dataclass(frozen=True, slots=True)
class Band:
    """How far two values may be apart and still be the same: noise of an arithmetic."""

    max_relative: float  # of the largest |reference|
    psnr_db: float

    @classmethod
    def of(cls, arithmetic: Arithmetic) -> Band:
        """Return the band of an arithmetic; float16 and integers have the one that `verify` gates with."""
        if arithmetic == "float32":
            return cls(FLOAT32_RELATIVE, FLOAT32_PSNR_DB)
        return cls(float("inf"), PSNR_DB[arithmetic])

    def without(self, parity: Parity) -> Band:
        """Return this band, narrow enough to leave a wrong output's parity outside."""
        return Band(self.max_relative, max(self.psnr_db, parity.psnr_db + TIGHTER_DB))

    def holds(self, parity: Parity, reference: Array) -> bool:
        """Say whether a value is the reference but for noise."""
        peak = float(np.abs(reference).max())
        return parity.psnr_db >= self.psnr_db and parity.max_abs <= self.max_relative * max(
            peak, 1e-6
        )


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    flat: Array  # float64
    mean: float
    rms: float
    limits: tuple[float, float] | None  # of the activation that is part of the operation


FUSED = {1: (0.0, np.inf), 3: (0.0, 6.0)}  # TFLite's ReLU and ReLU6


class Matcher:
    """Looks values up among those of one trace.

    Where the trace's operation has its activation inside, a value before the activation is explained too.
    """

    def __init__(self, trace: Trace, band: Band) -> None:
        """Remember the values of `trace` by their size."""
        self._band = band
        self._known: dict[int, list[_Known]] = {}
        limits = {
            node.outputs[0].name: FUSED.get(node.attributes.get("fusedActivationFunction", 0))
            for node in trace.graph.nodes
        }
        for name, value in trace.values.items():
            if value.dtype.kind == "f" and value.size and np.isfinite(value).all():
                flat = value.astype(np.float64).ravel()
                known = _Known(name, flat, *_sums(flat), limits.get(name))
                self._known.setdefault(flat.size, []).append(known)

    def like(self, value: Array) -> str | None:
        """Return the name of a value with the same numbers, None if there is none."""
        if value.dtype.kind != "f" or not value.size or not np.isfinite(value).all():
            return None
        wide = value.astype(np.float64)
        for known in self._known.get(wide.size, ()):
            if self._alike(wide, known):
                return known.name
            if known.limits is not None and self._alike(np.clip(wide, *known.limits), known):
                return known.name
        return None

    def _alike(self, value: Array, known: _Known) -> bool:
        mean, rms = _sums(value.ravel())
        # sums do not depend on the order; no closer look where they differ
        slack = 0.05 * max(known.rms, 1e-9)
        if abs(known.mean - mean) > slack or abs(known.rms - rms) > slack:
            return False
        orders = _orders(value)
        return any(self._band.holds(Parity.of(known.flat, flat), known.flat) for flat in orders)


def _sums(flat: Array) -> tuple[float, float]:
    return float(flat.mean()), float(np.sqrt(np.mean(flat**2)))


def _orders(value: Array) -> Iterator[Array]:
    """Yield a value's numbers in every order of its axes; axes of size 1 say nothing."""
    bare = value.squeeze()
    if not 1 < bare.ndim <= MOST_AXES:
        yield bare.ravel()
        return
    for axes in itertools.permutations(range(bare.ndim)):
        yield bare.transpose(axes).ravel()


@dataclass(frozen=True)
class Diverged:
    """The operations of one file that lead from the last explained values to a wrong output."""

    nodes: tuple[Node, ...]  # in order of execution
    roots: tuple[Node, ...]  # whose inputs are still right


def diverged(trace: Trace, other: Trace, band: Band, wrong: Collection[str]) -> Diverged:
    """Go back from wrong outputs to where values are explained.

    Args:
        trace: the file to look into.
        other: the file that explains its values.
        band: the noise.
        wrong: outputs, by the graph's names, that are not what they should be.

    """
    matcher = Matcher(other, band)
    graph = trace.graph
    explained: dict[str, bool] = {}

    def is_explained(name: str) -> bool:
        if name not in explained:
            value = trace.values.get(name)
            explained[name] = value is None or matcher.like(value) is not None
        return explained[name]

    bad: dict[str, Node] = {}  # by the name of the first output
    queue = list(wrong)
    while queue:
        name = queue.pop()
        node = next((n for n in graph.nodes if name in {v.name for v in n.outputs}), None)
        if node is None or node.outputs[0].name in bad:
            continue
        if name not in wrong and (is_explained(name) or not _computes(trace, node)):
            continue
        bad[node.outputs[0].name] = node
        queue += [value.name for value in node.computed]
    ordered = tuple(node for node in graph.nodes if node.outputs[0].name in bad)
    return Diverged(ordered, _roots(trace, ordered))


def _computes(trace: Trace, node: Node) -> bool:
    """Say whether an operation depends on inputs; unpacked weights do not."""
    seen: set[str] = set()
    queue = [node]
    inputs = {value.name for value in trace.graph.inputs}
    while queue:
        here = queue.pop()
        for value in here.computed:
            if value.name in inputs:
                return True
            maker = trace.graph.maker(value)
            if maker is not None and value.name not in seen:
                seen.add(value.name)
                queue.append(maker)
    return False


def _roots(trace: Trace, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return operations that change numbers and have no other such one among `nodes` before them."""
    names = {node.outputs[0].name for node in nodes}

    def before(node: Node) -> Iterator[Node]:
        for value in node.computed:
            maker = trace.graph.maker(value)
            if maker is not None and maker.outputs[0].name in names:
                if maker.kind in STRUCTURAL:
                    yield from before(maker)
                else:
                    yield maker

    working = [n for n in nodes if n.kind not in STRUCTURAL and not any(before(n))]
    return tuple(working) or nodes[:1]
