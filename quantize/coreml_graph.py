"""An `.mlpackage` as operations with named inputs and results, and weights however they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.quantize.layers import Layer
from pocketportrait.quantize.matching import match_layers
from pocketportrait.runtime.coreml_package import import_coremltools, open_package

WEIGHTED = {"conv", "linear"}


@dataclass(frozen=True, slots=True)
class CoremlWeight:
    """A learnt constant: float numbers, or how many bits of what stand for them."""

    name: str  # of the operation that gives it
    shape: tuple[int, ...]
    bits: int
    kind: str  # const, or the constexpr operation that unpacks it
    values: Array | None  # float numbers of a const
    scale: Array


@dataclass(frozen=True, slots=True)
class CoremlOperation:
    """One operation that is no constant."""

    kind: str
    name: str
    inputs: tuple[str, ...]  # values that are computed
    outputs: tuple[str, ...]
    result: str  # MIL type of the first output
    weight: CoremlWeight | None


def read_coreml(path: Path) -> tuple[CoremlOperation, ...]:
    """Return the operations of a package in order of execution.

    Raises:
        InputError: no package, or its program cannot be read.
        MissingToolError: coremltools is not installed.

    """
    model = open_package(path)
    import_coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load  # not under a public name

    spec: Any = model.get_spec()
    version = spec.specificationVersion
    program = load(spec, specification_version=version, file_weights_dir=model.weights_dir or "")
    found = []
    for operation in program.functions["main"].operations:
        if operation.op_type == "const" or operation.op_type.startswith("constexpr_"):
            continue
        found.append(_operation(operation))
    return tuple(found)


def _operation(operation: Any) -> CoremlOperation:
    from coremltools.converters.mil.mil import types

    computed = []
    for given in operation.inputs.values():
        for variable in given if isinstance(given, list | tuple) else [given]:
            if variable is not None and not _is_constant(variable):
                computed.append(str(variable.name))
    weighted = operation.op_type in WEIGHTED
    return CoremlOperation(
        kind=operation.op_type,
        name=operation.name,
        inputs=tuple(computed),
        outputs=tuple(str(variable.name) for variable in operation.outputs),
        result=types.builtin_to_string(operation.outputs[0].dtype),
        weight=_weight(operation.inputs["weight"].op) if weighted else None,
    )


def _is_constant(variable: Any) -> bool:
    maker = variable.op
    return maker is not None and (
        maker.op_type == "const" or maker.op_type.startswith("constexpr_")
    )


def _weight(maker: Any) -> CoremlWeight | None:
    if maker is None:
        return None  # the program computes it
    shape = tuple(int(n) for n in maker.outputs[0].shape)
    nothing = np.zeros(0, np.float32)
    if maker.op_type == "const":
        values = np.asarray(maker.outputs[0].val)
        return CoremlWeight(maker.name, shape, values.itemsize * 8, "const", values, nothing)
    if maker.op_type == "constexpr_affine_dequantize":
        scale = np.asarray(maker.inputs["scale"].val)
        bits = np.asarray(maker.inputs["quantized_data"].val).itemsize * 8
        return CoremlWeight(maker.name, shape, bits, maker.op_type, None, scale.reshape(-1))
    if maker.op_type == "constexpr_lut_to_dense":
        palette = np.asarray(maker.inputs["lut"].val)
        bits = int(math.log2(palette.size))
        return CoremlWeight(maker.name, shape, bits, maker.op_type, None, nothing)
    raise InputError(f"{maker.name}: weights stored by {maker.op_type} are not covered")


def layer_of_operation(
    operations: tuple[CoremlOperation, ...], layers: tuple[Layer, ...], file: str
) -> dict[int, str]:
    """Return, for a float package, the layer of every operation with learnt weights, by its number.

    Raises:
        ConverterError: a layer's weights are not in the package.

    """
    users: dict[str, list[int]] = {}
    weights: dict[str, Array] = {}
    for number, operation in enumerate(operations):
        weight = operation.weight
        if weight is not None and weight.values is not None:
            users.setdefault(weight.name, []).append(number)
            weights[weight.name] = weight.values
    names = match_layers(layers, weights, file)
    return {
        number: names[key] for key, numbers in users.items() if key in names for number in numbers
    }
