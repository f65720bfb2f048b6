"""TFLite: weights alone, static int8, or dynamic int8, through ai-edge-quantizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import GraphSpec
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.export.to_tflite import SIGNATURE, halve_tflite, write_checked
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan, Range
from pocketportrait.quantize.tflite_graph import (
    TfliteOperation,
    TfliteTensor,
    layer_of_operation,
    read_tflite,
)
from pocketportrait.runtime.layout import convert

# pass on what they get
CARRIERS = {"PAD", "RESHAPE", "TRANSPOSE", "RELU"}
JOINS = {"ADD", "MUL"}
BITS = 8


def quantize_tflite(
    source: Path, spec: GraphSpec, plan: GraphPlan, feeds: Sequence[Feed], path: Path
) -> Path:
    """Write one graph of a recipe as a TFLite file.

    Args:
        source: the fp32 file.
        spec: the graph's contract; names, shapes and types of the result are compared with it.
        plan: a setting for every layer.
        feeds: calibration inputs, NCHW; unused where nothing computes in integers.
        path: file to write or replace.

    Raises:
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed, or wrote another file than asked for.

    """
    if plan.fp16:
        return halve_tflite(source, spec, path)
    with converter("ai-edge-quantizer", "quantize"):
        from ai_edge_quantizer import quantizer

        work = quantizer.Quantizer(bytearray(source.read_bytes()))
        operations = read_tflite(source)
        names = layer_of_operation(operations, plan.layers, str(source.name))
        if _configure(work, operations, names, plan):
            ranges = None
            if work.need_calibration:
                ranges = work.calibrate(
                    {SIGNATURE: [_nhwc(feed, spec) for feed in feeds]}, num_threads=1
                )
                _take_ranges(ranges, operations, names, plan)
            content = bytes(work.quantize(ranges, enable_progress_report=False).quantized_model)
        else:
            content = source.read_bytes()
    write_checked(content, spec, path)
    return path


def _configure(
    work: Any,
    operations: tuple[TfliteOperation, ...],
    names: dict[int, str],
    plan: GraphPlan,
) -> int:
    """Tell the quantizer what each operation shall be; returns how many were told something.

    It knows operations by the names of what they give, so that a name that is no operation's own
    would quantize a stranger.
    """
    from ai_edge_quantizer import qtyping

    integer = _integer_operations(operations, names, plan)
    scopes = [_scope(operation) for operation in operations]
    told = 0
    for number, operation in enumerate(operations):
        setting = plan.settings[names[number]] if number in names else None
        scheme = setting.scheme if setting else ("w8a8" if number in integer else "fp32")
        if scheme == "fp32":
            continue
        if scopes.count(scopes[number]) > 1:
            raise ConverterError(
                f"{plan.graph}: two operations give values called {scopes[number]!r}"
            )
        kind = getattr(qtyping.TFLOperationName, operation.kind)
        tensorwise = setting is not None and setting.granularity == "tensor"
        granularity = qtyping.QuantGranularity["TENSORWISE" if tensorwise else "CHANNELWISE"]
        scope = f"^{re.escape(scopes[number])};?$"
        if scheme == "w8a8":
            work.add_static_config(scope, kind, BITS, BITS, granularity)
        elif scheme == "w8a8_dynamic":
            work.add_dynamic_config(scope, kind, BITS, granularity)
        else:
            bits = setting.weight_bits if setting else BITS
            work.add_weight_only_config(scope, kind, bits, granularity)
        told += 1
    return told


def _integer_operations(
    operations: tuple[TfliteOperation, ...], names: dict[int, str], plan: GraphPlan
) -> set[int]:
    """Return which operations take part in integer arithmetic, as the ONNX backend does."""
    integer: set[int] = set()
    from_integer: set[int] = set()
    for number, operation in enumerate(operations):
        if number in names:
            takes_part = plan.settings[names[number]].integer
        else:
            reached = any(tensor.index in from_integer for tensor in operation.inputs)
            joins = plan.between == "int8" and operation.kind in JOINS
            takes_part = reached and (joins or operation.kind in CARRIERS)
        if takes_part:
            integer.add(number)
            from_integer.update(tensor.index for tensor in operation.outputs)
    return integer


def _take_ranges(
    ranges: dict[str, Any],
    operations: tuple[TfliteOperation, ...],
    names: dict[int, str],
    plan: GraphPlan,
) -> None:
    """Put learnt ranges in the place of measured ones; of a tensor's several ranges the widest holds."""
    found: dict[str, list[Range]] = {}
    for number, layer in names.items():
        operation = operations[number]
        tensors = [(INPUT, operation.inputs[0]), (RESULT, operation.outputs[0])]
        tensors += [(RESULT, tensor) for tensor in _activated(operation, operations)]
        for side, tensor in tensors:
            learnt = plan.range_of(layer, side)
            if learnt is not None:
                found.setdefault(tensor.name, []).append(learnt)
    if unknown := sorted(found.keys() - ranges.keys()):
        raise ConverterError(f"{plan.graph}: want ranges of {unknown}, the tool measured none")
    for name, pairs in found.items():
        measured = ranges[name]
        bounds = {"min": min(low for low, _ in pairs), "max": max(high for _, high in pairs)}
        for key, bound in bounds.items():
            measured[key] = np.full_like(measured[key], bound)


def _activated(
    operation: TfliteOperation, operations: tuple[TfliteOperation, ...]
) -> tuple[TfliteTensor, ...]:
    """Return what an activation of its own makes of a layer's result, if one follows."""
    result = operation.outputs[0].index
    return tuple(
        o.outputs[0] for o in operations if o.kind == "RELU" and o.inputs[0].index == result
    )


def _scope(operation: TfliteOperation) -> str:
    return ";".join(tensor.name for tensor in operation.outputs)


def _nhwc(feed: Feed, spec: GraphSpec) -> Feed:
    return {t.name: convert(feed[t.name], t, t.nhwc()) for t in spec.inputs}
