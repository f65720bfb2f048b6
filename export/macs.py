"""What a graph costs: multiply-accumulates of convolutions, linear layers and matmuls, warps included."""

from __future__ import annotations

import math
from pathlib import Path

from pocketportrait.export.converter import converter


def count_macs(path: Path) -> int:
    """Count the multiply-accumulates of one pass through an exported ONNX file.

    Raises:
        MissingToolError: the `export` extra is not installed.
        ConverterError: the file cannot be read.

    """
    with converter("onnx"):
        return sum(_macs_by_node(path).values())


def _macs_by_node(path: Path) -> dict[str, int]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    found = {}
    for node in graph.node:
        first, result = shapes.get(node.input[0], ()), math.prod(shapes.get(node.output[0], ()))
        if node.op_type == "Conv":  # weights are [out, in / groups, kernel...]
            found[node.name] = result * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":  # weights are [in, out / groups, kernel...]
            found[node.name] = math.prod(first) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            found[node.name] = result * first[-1]
        elif node.op_type == "Gemm":
            flipped = any(a.name == "transA" and a.i for a in node.attribute)
            found[node.name] = result * first[0 if flipped else 1]
    return found
