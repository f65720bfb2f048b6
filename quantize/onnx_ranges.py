"""Learnt ranges in an ONNX file that NNCF wrote: they take the place of those that it measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan, Range

if TYPE_CHECKING:
    import onnx

FUSED = {"Relu", "Clip"}  # runtimes make them part of the layer before


def take_ranges(model: onnx.ModelProto, plan: GraphPlan) -> None:
    """Put learnt ranges in the place of measured ones; of a value's several ranges the widest holds."""
    from onnx import numpy_helper

    maker = {name: node for node in model.graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    owner = {node: layer.name for layer in plan.integer for node in layer.nodes}
    found: dict[str, list[Range]] = {}  # by the float value that is quantized
    for node in model.graph.node:
        layer = owner.get(node.name)
        if layer is None:
            continue
        result = node.output[0]
        after = users.get(result, [])
        if len(after) == 1 and after[0].op_type in FUSED:
            result = after[0].output[0]
        values = {INPUT: _quantized_value(node.input[0], maker), RESULT: result}
        for side, value in values.items():
            if value is not None and (learnt := plan.range_of(layer, side)) is not None:
                found.setdefault(value, []).append(learnt)
    for value, ranges in found.items():
        scale, zero = unsigned_scale(min(r[0] for r in ranges), max(r[1] for r in ranges))
        constants = [
            numpy_helper.from_array(np.asarray(scale, np.float32), f"{value}_learnt_scale"),
            numpy_helper.from_array(np.asarray(zero, np.uint8), f"{value}_learnt_zero_point"),
        ]
        model.graph.initializer.extend(constants)
        for quantizer in (n for n in users.get(value, []) if n.op_type == "QuantizeLinear"):
            for node in (quantizer, *users[quantizer.output[0]]):
                node.input[1], node.input[2] = (constant.name for constant in constants)


def _quantized_value(name: str, maker: dict[str, Any]) -> str | None:
    """Return the float value that a dequantized one was before; None where it is float."""
    dequantizer = maker.get(name)
    if dequantizer is None or dequantizer.op_type != "DequantizeLinear":
        return None
    return str(maker[dequantizer.input[0]].input[0])


def unsigned_scale(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point of uint8 numbers that cover a range and hold zero exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return scale, round(-low / scale)
