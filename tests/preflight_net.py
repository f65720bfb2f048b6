"""What tests of preflight write ONNX graphs with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.validation.preflight.rule import Severity

RANDOM = np.random.default_rng(5)
Shape = Sequence[int | str]


def floats(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


class Net:
    """An ONNX graph in the making; `net.Op(a, b, attribute=..)` adds a node and names its result."""

    def __init__(self, **inputs: Shape) -> None:
        self.inputs = inputs
        self.nodes: list[Any] = []
        self.stored: dict[str, Array] = {}

    def __getattr__(self, operator: str) -> Callable[..., str]:
        def add(*given: str | Array | float, **attributes: Any) -> str:
            from onnx import helper

            names = [g if isinstance(g, str) else self.store(g) for g in given]
            out = f"{operator.lower()}_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, names, [out], name=out, **attributes))
            return out

        return add

    def store(self, value: Array | float) -> str:
        name = f"stored_{len(self.stored)}"
        self.stored[name] = np.asarray(value, np.float32 if isinstance(value, float) else None)
        return name

    def save(self, path: Path, output: str, opset: int = 20) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        inputs = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.inputs.items()
        ]
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        stored = [numpy_helper.from_array(v, n) for n, v in self.stored.items()]
        graph = helper.make_graph(self.nodes, "g", inputs, [out], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 10
        onnx.save(model, path)
        return path


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


@dataclass
class Case:
    """What one rule is tried on; bad and good take the same inputs and give the same numbers."""

    target: str
    severity: Severity
    bad: Callable[[Net], str]
    good: Callable[[Net], str]
    inputs: dict[str, tuple[int, ...]]
    tolerance: float = 2e-6
    bad_shapes: dict[str, Shape] = field(default_factory=dict)  # where they differ from the inputs'
    scale: float = 1.0  # of the inputs
