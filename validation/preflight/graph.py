"""One small graph that an ONNX file, a TFLite file and a Core ML package are all read into.

Operators have the format's own name and a neutral one, so that a rule is written once; what no rule
needs to tell apart keeps its own name in small letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pocketportrait.contract import Array

Shape = tuple[int | None, ...]  # None: a size that is not fixed


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of a graph; `shape` is None where the file does not say how many axes there are."""

    name: str
    shape: Shape | None = None
    dtype: str = ""
    fixed: bool = False  # stored in the file instead of computed
    numbers: Array | None = field(default=None, compare=False, repr=False)

    @property
    def rank(self) -> int:
        """Return the number of axes, 0 where it is not known."""
        return len(self.shape or ())

    @property
    def is_dynamic(self) -> bool:
        """Say whether a size is not fixed; stored tensors never are."""
        return not self.fixed and (self.shape is None or None in self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: `kind` is neutral, `operator` the format's own name."""

    kind: str
    operator: str
    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def computed(self) -> tuple[Value, ...]:
        """Return the inputs that another operation or the caller gives."""
        return tuple(value for value in self.inputs if not value.fixed)


@dataclass(frozen=True)
class Graph:
    """The operations of one file in order of execution."""

    file: str
    format: str  # onnx, tflite or coreml
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]

    def of_kind(self, *kinds: str) -> Iterator[Node]:
        """Yield the operations of these neutral kinds."""
        return (node for node in self.nodes if node.kind in kinds)

    def maker(self, value: Value) -> Node | None:
        """Return the operation that gives a value, None for inputs and stored tensors."""
        return self._makers.get(value.name)

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return {out.name: node for node in self.nodes for out in node.outputs}
