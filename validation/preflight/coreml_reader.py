"""An `.mlpackage` as a neutral graph, read from its protobuf without compiling anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.coreml_package import import_coremltools, open_package
from pocketportrait.validation.preflight.graph import Graph, Node, Shape, Value

KINDS = {
    "gather": "gather",
    "gather_nd": "gather_nd",
    "gather_along_axis": "gather_elements",
    "scatter": "scatter",
    "scatter_nd": "scatter",
    "scatter_along_axis": "scatter",
    "resample": "grid_sample",
    "conv": "conv",
    "conv_transpose": "conv_transpose",
    "linear": "linear",
    "matmul": "matmul",
    "instance_norm": "instance_norm",
    "layer_norm": "layer_norm",
    "reduce_mean": "reduce_mean",
    "reduce_sum": "reduce_sum",
    "reduce_sum_square": "reduce_square",
    "sigmoid_hard": "hard_sigmoid",
    "upsample_nearest_neighbor": "resize_nearest",
    "resize_nearest_neighbor": "resize_nearest",
    "upsample_bilinear": "resize_linear",
    "resize_bilinear": "resize_linear",
}
CONVENTIONS = {  # of resize_bilinear
    "STRICT_ALIGN_CORNERS": "align_corners",
    "ALIGN_CORNERS": "align_corners",
    "UNALIGN_CORNERS": "half_pixel",
    "DEFAULT": "asymmetric",
    "OFFSET_CORNERS": "other",
}


def read_coreml(path: Path) -> Graph:
    """Read the `main` function of a package.

    Raises:
        InputError: not there, no ML program, or one that cannot be read.
        MissingToolError: the `export` extra, which brings coremltools, is not installed.

    """
    spec: Any = open_package(path).get_spec()
    try:
        return _graph(spec, path)
    except InputError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path}: want an ML program, got one that cannot be read: {error!r}"
        ) from error


def _graph(spec: Any, path: Path) -> Graph:
    main = spec.mlProgram.functions.get("main")
    if main is None or main.opset not in main.block_specializations:
        raise InputError(f"{path}: want an ML program with a function `main`, got none")
    block = main.block_specializations[main.opset]
    values = {given.name: _value(given) for given in main.inputs}
    nodes = []
    for operation in block.operations:
        outputs = tuple(_value(given) for given in operation.outputs)
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            for out in outputs:
                numbers = _immediate(operation)
                values[out.name] = Value(out.name, out.shape, out.dtype, True, numbers)
            continue
        values.update({out.name: out for out in outputs})
        nodes.append(_node(operation, outputs, values))
    return Graph(
        file=path.name,
        format="coreml",
        inputs=tuple(values[given.name] for given in main.inputs),
        outputs=tuple(values[name] for name in block.outputs),
        nodes=tuple(nodes),
    )


def _node(operation: Any, outputs: tuple[Value, ...], values: dict[str, Value]) -> Node:
    inputs: list[Value] = []
    attributes: dict[str, Any] = {}
    # "x" first: protobuf maps have no order
    for key in sorted(operation.inputs, key=lambda k: (k not in ("x", "values"), k)):
        for argument in operation.inputs[key].arguments:
            if argument.WhichOneof("binding") != "name":
                continue
            value = values.get(argument.name, Value(argument.name))
            inputs.append(value)
            if value.fixed and value.numbers is not None:
                attributes[key] = value.numbers.tolist()
    kind = KINDS.get(operation.type, operation.type)
    if kind.startswith("resize"):
        attributes["convention"] = _convention(operation.type, attributes)
    name = outputs[0].name if outputs else operation.type
    return Node(kind, operation.type, name, tuple(inputs), outputs, attributes)


def _convention(operator: str, attributes: dict[str, Any]) -> str:
    if operator == "resize_bilinear":
        return CONVENTIONS.get(str(attributes.get("sampling_mode", "DEFAULT")), "other")
    return "align_corners" if attributes.get("align_corners") is True else "half_pixel"


def _value(given: Any) -> Value:
    tensor = given.type.tensorType
    shape: Shape = tuple(
        int(d.constant.size) if d.WhichOneof("dimension") == "constant" else None
        for d in tensor.dimensions
    )
    return Value(given.name, shape, _dtype(tensor.dataType))


def _dtype(number: int) -> str:
    import_coremltools()
    from coremltools.proto import MIL_pb2

    return str(MIL_pb2.DataType.Name(number)).lower()


def _immediate(operation: Any) -> Array | None:
    """Return numbers, truths and words that stand in the program itself; weights in a blob do not."""
    import numpy as np

    if operation.type != "const" or "val" not in operation.attributes:
        return None
    value = operation.attributes["val"]
    if value.WhichOneof("value") != "immediateValue":
        return None
    tensor = value.immediateValue.tensor
    kind = tensor.WhichOneof("value")
    if kind is None or kind == "bytes":  # float16 of a few elements: of no interest to any rule
        return None
    numbers = np.asarray(list(getattr(tensor, kind).values))
    shape = tuple(int(d.constant.size) for d in value.type.tensorType.dimensions)
    return numbers.reshape(shape) if numbers.size == int(np.prod(shape, dtype=int)) else numbers
