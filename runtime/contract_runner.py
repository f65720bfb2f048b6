"""A runner that speaks the contract (NCHW, float32, 0..1) over a file that may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pocketportrait.bundle import TensorModel, VariantGraph
from pocketportrait.contract import Array, GraphSpec, TensorSpec
from pocketportrait.errors import InputError
from pocketportrait.runtime.feed import check_feed
from pocketportrait.runtime.layout import convert

if TYPE_CHECKING:
    from pocketportrait.runtime.runner import Runner


class ContractRunner:
    """Convert on the way in and out by what the manifest says of the file, after comparing both."""

    def __init__(self, inner: Runner, graph: GraphSpec, declared: VariantGraph) -> None:
        """Wrap a runner that was not entered yet.

        Args:
            inner: runs the file, in the file's own layout.
            graph: the contract.
            declared: the file's tensors, as the manifest has them.

        """
        self._inner, self._graph, self._declared = inner, graph, declared
        self._bound: dict[str, Array] = {}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph takes by contract."""
        return self._graph.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the graph gives by contract."""
        return self._graph.outputs

    def __enter__(self) -> Self:
        """Load the file and compare it with the manifest.

        Raises:
            InputError: the file does not load, or its tensors are not what the manifest says.
            MissingToolError: the runner cannot be used here.

        """
        self._inner.__enter__()
        try:
            self._file_inputs = self._compared("inputs", self._declared.inputs, self._inner.inputs)
            self._file_outputs = self._compared(
                "outputs", self._declared.outputs, self._inner.outputs
            )
        except InputError:
            self._inner.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the file and what was bound."""
        self._bound = {}
        self._inner.__exit__(kind, error, trace)

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Keep inputs that stay the same over many passes; they are converted once.

        Raises:
            InputError: a tensor is unknown, or unlike its spec.

        """
        specs = [spec for spec in self._graph.inputs if spec.name in feed]
        check_feed(self._graph.name, specs, feed)
        self._bound |= self._to_file(feed)

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass with these and the bound inputs; returns copies.

        Raises:
            InputError: a tensor is missing, or unlike its spec.

        """
        specs = [
            spec for spec in self._graph.inputs if spec.name not in self._bound.keys() - feed.keys()
        ]
        check_feed(self._graph.name, specs, feed)
        return self.from_file(self._inner.infer(self._bound | self._to_file(feed)))

    def from_file(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return what one pass of the file gave, as the contract has it."""
        return {
            spec.name: convert(values[spec.name], self._file_outputs[spec.name], spec)
            for spec in self._graph.outputs
        }

    def _to_file(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        specs = {spec.name: spec for spec in self._graph.inputs}
        return {
            name: convert(value, specs[name], self._file_inputs[name])
            for name, value in feed.items()
        }

    def _compared(
        self, side: str, declared: Sequence[TensorModel], found: Sequence[TensorSpec]
    ) -> dict[str, TensorSpec]:
        """Return the file's tensors with the manifest's layouts and ranges."""
        name = f"{self._declared.path}: {side}"
        in_file = {spec.name: spec for spec in found}
        if in_file.keys() != {model.name for model in declared}:
            want = sorted(model.name for model in declared)
            raise InputError(
                f"{name}: the manifest says {want}, the file {sorted(in_file)}; export it again"
            )
        compared = {}
        for model in declared:
            spec, own = model.spec(), in_file[model.name]
            if model.kind == "image":  # what Core ML calls an image has one form only
                spec = own
            if (spec.shape, spec.dtype) != (own.shape, own.dtype):
                raise InputError(
                    f"{name}: {model.name}: the manifest says {spec.dtype} {spec.shape},"
                    f" the file {own.dtype} {own.shape}; export it again"
                )
            compared[model.name] = spec
        return compared
