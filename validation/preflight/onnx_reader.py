"""An `.onnx` file as a neutral graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.validation.preflight.graph import Graph, Node, Shape, Value

KINDS = {
    "Gather": "gather",
    "GatherND": "gather_nd",
    "GatherElements": "gather_elements",
    "ScatterND": "scatter",
    "ScatterElements": "scatter",
    "Scatter": "scatter",
    "GridSample": "grid_sample",
    "GridSample3D": "grid_sample",  # the plug-in that LivePortrait's public ONNX files carry
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "InstanceNormalization": "instance_norm",
    "GroupNormalization": "group_norm",
    "LayerNormalization": "layer_norm",
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_square",
    "GlobalAveragePool": "reduce_mean",
    "HardSwish": "hard_swish",
    "HardSigmoid": "hard_sigmoid",
}
MODES = {
    "half_pixel": "half_pixel",
    "pytorch_half_pixel": "half_pixel",  # differs only where a side becomes one pixel
    "half_pixel_symmetric": "half_pixel",
    "align_corners": "align_corners",
    "asymmetric": "asymmetric",
}
NUMBERS_UP_TO = 1 << 24  # elements; larger tables are not looked into


def read_onnx(path: Path) -> Graph:
    """Read a file; shapes that it does not state are inferred.

    Raises:
        InputError: not there, or no ONNX model.
        MissingToolError: the `export` extra, which brings `onnx`, is not installed.

    """
    try:
        import onnx
    except ImportError as error:
        raise MissingToolError.for_extra("onnx", "export") from error
    if not path.is_file():
        raise InputError(f"{path}: want an .onnx file, got nothing there")
    try:
        model = onnx.load(path)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        return graph_of(model, path.name)
    except Exception as error:  # protobuf's and onnx' classes share no base of their own
        raise InputError(
            f"{path}: want an ONNX model, got one that cannot be read: {error}"
        ) from error


def graph_of(model: Any, file: str) -> Graph:
    """Return a loaded `onnx.ModelProto` as a neutral graph; subgraphs of `If` and `Loop` are not entered."""
    graph = model.graph
    values = {v.name: _declared(v) for v in (*graph.value_info, *graph.input, *graph.output)}
    for tensor in graph.initializer:
        values[tensor.name] = _stored(tensor.name, tensor)
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant":
            name = node.output[0]
            values[name] = _constant(name, node)
            continue
        inputs = tuple(values.setdefault(n, Value(n)) for n in node.input if n)
        outputs = tuple(values.setdefault(n, Value(n)) for n in node.output if n)
        attributes = _attributes(node)
        kind = _kind(node.op_type, inputs, attributes)
        name = node.name or node.output[0]
        nodes.append(Node(kind, node.op_type, name, inputs, outputs, attributes))
    stored = {tensor.name for tensor in graph.initializer}
    return Graph(
        file=file,
        format="onnx",
        inputs=tuple(values[v.name] for v in graph.input if v.name not in stored),
        outputs=tuple(values[v.name] for v in graph.output),
        nodes=tuple(nodes),
    )


def _kind(operator: str, inputs: tuple[Value, ...], attributes: dict[str, Any]) -> str:
    if operator in ("Resize", "Upsample"):
        mode = attributes.get("mode", "nearest")
        attributes["convention"] = MODES.get(
            attributes.get("coordinate_transformation_mode", "half_pixel"), "other"
        )
        return f"resize_{mode}"
    if operator == "MatMul":
        flat = inputs[0].rank == 2 and inputs[1].fixed
        return "linear" if flat else "matmul"
    return KINDS.get(operator, operator.lower())


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _declared(info: Any) -> Value:
    tensor = info.type.tensor_type
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Value(info.name, shape, _dtype(tensor.elem_type))


def _stored(name: str, tensor: Any) -> Value:
    from onnx import numpy_helper

    shape = tuple(int(n) for n in tensor.dims)
    count = 1
    for size in shape:
        count *= size
    # external data of a file that was moved alone is not there; its shape is
    readable = count <= NUMBERS_UP_TO and not tensor.external_data
    numbers = numpy_helper.to_array(tensor) if readable else None
    return Value(name, shape, _dtype(tensor.data_type), True, numbers)


def _constant(name: str, node: Any) -> Value:
    from onnx import TensorProto, helper

    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return _stored(name, value)
    import numpy as np

    numbers = np.asarray(value) if not isinstance(value, bytes) else None
    shape = () if numbers is None else tuple(numbers.shape)
    return Value(name, shape, "" if numbers is None else str(numbers.dtype), True, numbers)


def _dtype(number: int) -> str:
    from onnx import TensorProto

    name = TensorProto.DataType.Name(number).lower() if number else ""
    return {"float": "float32", "double": "float64"}.get(name, name)
