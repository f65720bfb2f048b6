"""A `.tflite` file as a neutral graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.validation.preflight.graph import Graph, Node, Shape, Value

KINDS = {
    "GATHER": "gather",
    "GATHER_ND": "gather_nd",
    "SCATTER_ND": "scatter",
    "EMBEDDING_LOOKUP": "embedding_lookup",
    "CONV_2D": "conv",
    "DEPTHWISE_CONV_2D": "conv",
    "CONV_3D": "conv",
    "CONV_3D_TRANSPOSE": "conv_transpose",
    "TRANSPOSE_CONV": "conv_transpose",
    "FULLY_CONNECTED": "linear",
    "BATCH_MATMUL": "matmul",
    "MEAN": "reduce_mean",
    "SUM": "reduce_sum",
    "SQUARE": "square",
    "SQUARED_DIFFERENCE": "square",
    "HARD_SWISH": "hard_swish",
    "RESIZE_NEAREST_NEIGHBOR": "resize_nearest",
    "RESIZE_BILINEAR": "resize_linear",
}
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
    17: "int4",
}


def read_tflite(path: Path) -> Graph:
    """Read a file; operations of every subgraph are looked at.

    Raises:
        InputError: not there, or no TFLite model.
        MissingToolError: the `litert` extra, which brings the schema, is not installed.

    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingToolError.for_extra("ai-edge-litert", "litert") from error
    if not path.is_file():
        raise InputError(f"{path}: want a .tflite file, got nothing there")
    data = path.read_bytes()
    try:
        return graph_of(schema.ModelT.InitFromPackedBuf(data, 0), path.name)
    except Exception as error:  # a truncated buffer: struct.error, IndexError, TypeError
        raise InputError(
            f"{path}: want a TFLite model, got one that cannot be read: {error}"
        ) from error


def graph_of(model: Any, file: str) -> Graph:
    """Return an unpacked `ModelT` as a neutral graph."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [_operator(code, names) for code in model.operatorCodes]
    nodes: list[Node] = []
    sides: list[tuple[tuple[Value, ...], tuple[Value, ...]]] = []
    for number, graph in enumerate(model.subgraphs):
        values = [
            _value(number, index, tensor, model.buffers)
            for index, tensor in enumerate(graph.tensors)
        ]
        sides.append((_pick(values, graph.inputs), _pick(values, graph.outputs)))
        for operator in graph.operators:
            nodes.append(_node(codes[operator.opcodeIndex], operator, values))
    return Graph(file, "tflite", sides[0][0], sides[0][1], tuple(nodes))


def _operator(code: Any, names: dict[int, str]) -> str:
    name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return f"CUSTOM {code.customCode.decode()}" if name == "CUSTOM" else name


def _node(operator: str, given: Any, values: list[Value]) -> Node:
    inputs, outputs = _pick(values, given.inputs), _pick(values, given.outputs)
    options = given.builtinOptions
    attributes = dict(vars(options)) if options is not None else {}
    if operator.startswith("RESIZE"):
        attributes["convention"] = _convention(attributes)
    name = outputs[0].name if outputs else operator
    return Node(KINDS.get(operator, operator.lower()), operator, name, inputs, outputs, attributes)


def _convention(options: dict[str, Any]) -> str:
    if options.get("halfPixelCenters"):
        return "half_pixel"
    return "align_corners" if options.get("alignCorners") else "asymmetric"


def _pick(values: list[Value], indices: Any) -> tuple[Value, ...]:
    return tuple(values[i] for i in ([] if indices is None else indices) if i >= 0)


def _value(subgraph: int, index: int, tensor: Any, buffers: Any) -> Value:
    """Return a tensor; names may repeat in a file, so the number is part of it."""
    sizes = [] if tensor.shape is None else [int(n) for n in tensor.shape]
    signature = tensor.shapeSignature
    shape: Shape = tuple(sizes)
    if signature is not None:
        pairs = zip(signature, sizes, strict=False)
        shape = tuple(None if int(wish) < 0 else size for wish, size in pairs)
    dtype = TYPES.get(tensor.type, f"type {tensor.type}")
    data = buffers[tensor.buffer].data
    fixed = data is not None and len(data) > 0
    name = f"{tensor.name.decode() if tensor.name else ''}#{subgraph}.{index}"
    return Value(name, shape, dtype, fixed, _numbers(data, dtype, sizes) if fixed else None)


def _numbers(data: Any, dtype: str, sizes: list[int]) -> Array | None:
    if dtype not in ("float32", "float16", "int32", "int64"):
        return None
    return np.frombuffer(bytes(data), dtype).reshape(sizes)
