"""The layers of a graph: what recipes name, the same names in all three formats.

A layer is a convolution or a linear map with weights of its own. Its name is its module's path in the
student (`blocks.0.first`), which the ONNX fp32 file keeps; other formats' operations are recognised by
their weights (`quantize/matching.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketportrait.contract import Array
from pocketportrait.export.converter import converter
from pocketportrait.quantize.recipe import Kind

if TYPE_CHECKING:
    import onnx

WEIGHT = ".weight"
KINDS: dict[str, Kind] = {"Conv": "conv", "Gemm": "linear", "MatMul": "linear"}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of a float32 ONNX file."""

    name: str  # path of the module in the student
    kind: Kind
    weight: Array  # float32, [out, in, ...]
    nodes: tuple[str, ...]  # those that use the weight; more than one if the module runs twice
    macs: int  # multiply-accumulates of one pass, all nodes together


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Return the layers of a float32 ONNX file in order of execution.

    Raises:
        MissingToolError: onnx is not installed.
        ConverterError: the file cannot be read.

    """
    with converter("onnx"):
        import onnx

        return layers_of(onnx.load(path))


def layers_of(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Return the layers of a float32 ONNX model in order of execution."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = value_shapes(model)
    found: dict[str, list[Any]] = {}
    for node in model.graph.node:
        weight = weight_name(node, constants.keys())
        if weight is not None:
            found.setdefault(weight, []).append(node)
    return tuple(
        Layer(
            name=weight.removesuffix(WEIGHT),
            kind=KINDS[nodes[0].op_type],
            weight=numpy_helper.to_array(constants[weight]),
            nodes=tuple(node.name for node in nodes),
            macs=sum(_macs(node, tuple(constants[weight].dims), shapes) for node in nodes),
        )
        for weight, nodes in found.items()
    )


def weight_name(node: Any, constants: Any) -> str | None:
    """Return the name of a node's learnt weight; spline matrices and such are none."""
    if node.op_type not in KINDS or len(node.input) < 2 or node.input[1] not in constants:
        return None
    return str(node.input[1]) if node.input[1].endswith(WEIGHT) else None


def value_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value of an ONNX model."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
    }


def _macs(node: Any, weight: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> int:
    result = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":  # weights are [out, in / groups, kernel...]
        return result * math.prod(weight[1:])
    return math.prod(weight)  # graphs run one item at a time
