"""A `.tflite` file as operations with named inputs and results, constants at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import ConverterError
from pocketportrait.quantize.layers import Layer
from pocketportrait.quantize.matching import match_layers

WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
TYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
}
INT4 = 17


@dataclass(frozen=True, slots=True)
class TfliteTensor:
    """One tensor: constants hold their numbers; `scale` is empty where nothing is quantized."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    values: Array | None
    scale: Array
    zero_point: Array
    axis: int


@dataclass(frozen=True, slots=True)
class TfliteOperation:
    """One operation; a tensor of -1 is left out."""

    kind: str
    inputs: tuple[TfliteTensor, ...]
    outputs: tuple[TfliteTensor, ...]


def read_tflite(path: Path) -> tuple[TfliteOperation, ...]:
    """Return the operations of a file in order of execution.

    Raises:
        ConverterError: the file has more than one subgraph.

    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    if len(model.subgraphs) != 1:
        raise ConverterError(f"{path}: want one subgraph, got {len(model.subgraphs)}")
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    graph = model.subgraphs[0]
    tensors = [_tensor(i, t, model.buffers) for i, t in enumerate(graph.tensors)]
    return tuple(
        TfliteOperation(
            codes[operator.opcodeIndex],
            tuple(tensors[i] for i in operator.inputs if i >= 0),
            tuple(tensors[i] for i in operator.outputs),
        )
        for operator in graph.operators
    )


def _tensor(index: int, tensor: Any, buffers: Any) -> TfliteTensor:
    shape = tuple(int(n) for n in tensor.shape) if tensor.shape is not None else ()
    dtype = "int4" if tensor.type == INT4 else TYPES.get(tensor.type, str(tensor.type))
    data = buffers[tensor.buffer].data
    values = None
    if data is not None and len(data) and dtype in TYPES.values():
        values = np.frombuffer(bytes(data), dtype).reshape(shape)
    quantization = tensor.quantization
    scale = quantization.scale if quantization is not None else None
    zero = quantization.zeroPoint if quantization is not None else None
    return TfliteTensor(
        index=index,
        name=tensor.name.decode(),
        shape=shape,
        dtype=dtype,
        values=values,
        scale=np.zeros(0, np.float32) if scale is None else np.asarray(scale, np.float32),
        zero_point=np.zeros(0, np.int64) if zero is None else np.asarray(zero, np.int64),
        axis=int(quantization.quantizedDimension) if quantization is not None else 0,
    )


def as_onnx(weight: Array) -> Array:
    """Return a TFLite weight [out, rows, columns, in] as [out, in, rows, columns]."""
    return weight.transpose(0, 3, 1, 2) if weight.ndim == 4 else weight


def layer_of_operation(
    operations: tuple[TfliteOperation, ...], layers: tuple[Layer, ...], file: str
) -> dict[int, str]:
    """Return, for a float file, the layer of every operation with learnt weights, by its number.

    Raises:
        ConverterError: a layer's weights are not in the file.

    """
    users: dict[str, list[int]] = {}
    weights: dict[str, Array] = {}
    for number, operation in enumerate(operations):
        if operation.kind not in WEIGHTED or len(operation.inputs) < 2:
            continue
        weight = operation.inputs[1]
        if weight.values is not None and weight.values.dtype == np.float32:
            users.setdefault(str(weight.index), []).append(number)
            weights[str(weight.index)] = as_onnx(weight.values)
    names = match_layers(layers, weights, file)
    return {n: names[key] for key, numbers in users.items() if key in names for n in numbers}
