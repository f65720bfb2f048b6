"""Read-back: what a quantized file really holds, compared with what its recipe said.

Nothing is taken from the tools that wrote the file: bits, scales and types are read from it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from pocketportrait.contract import Array
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.quantize.layers import KINDS
from pocketportrait.quantize.onnx_weights import stored_weight
from pocketportrait.quantize.plan import GraphPlan, Setting

QUANTIZERS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QUANTIZE",
    "DEQUANTIZE",
    "quantize",
    "dequantize",
}
BITS = {"float32": 32, "float16": 16, "int8": 8, "uint8": 8, "int4": 4, "uint4": 4}
ACTIVATIONS = ("relu", "relu6", "clip")  # in Core ML
SIZES_OF_SCALES = {"tensor": "one", "channel": "one a channel"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LayerFacts(_Strict):
    """One layer as a file holds it."""

    name: str
    kind: str
    macs: int
    weight_bits: int
    num_scales: int  # of the weight; 0 where it is no integer
    scales: tuple[float, float] | None  # the smallest and the largest of them
    integer: bool  # whether it computes in integers, by ranges that were measured before
    dynamic: bool  # whether it does by ranges that every pass measures anew


class GraphFacts(_Strict):
    """One graph as a file holds it."""

    graph: str
    layers: tuple[LayerFacts, ...]
    float_operations: dict[str, int]  # operations that compute in float, by kind

    def integer_share(self, *, kind: str | None = None) -> float:
        """Return the share of the layers' multiply-accumulates that is computed in integers."""
        counted = [layer for layer in self.layers if kind in (None, layer.kind)]
        total = sum(layer.macs for layer in counted)
        return sum(layer.macs for layer in counted if layer.integer) / total if total else 0.0

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Return the layers that compute in float."""
        return tuple(layer.name for layer in self.layers if not layer.integer)


def differences(facts: GraphFacts, plan: GraphPlan) -> list[str]:
    """Return, in words, where a file is not what its recipe says; empty where it is."""
    found = []
    for layer in facts.layers:
        setting = plan.settings[layer.name]
        where = f"{facts.graph} {layer.name}"
        want = 16 if plan.fp16 else setting.weight_bits
        if layer.weight_bits != want:
            found.append(
                f"{where}: want weights of {want} bits, the file holds {layer.weight_bits}"
            )
        arithmetic = _arithmetic(layer.integer, layer.dynamic)
        if arithmetic != _arithmetic(setting.integer, setting.dynamic):
            found.append(
                f"{where}: want it to compute in {_arithmetic(setting.integer, setting.dynamic)},"
                f" the file computes in {arithmetic}"
            )
        if _is_affine(setting) and layer.weight_bits == want:
            single = layer.num_scales == 1
            one = next(la for la in plan.layers if la.name == layer.name)
            if single != (setting.granularity == "tensor") and one.weight.shape[0] > 1:
                found.append(
                    f"{where}: want {SIZES_OF_SCALES[setting.granularity]} weight scale,"
                    f" the file holds {layer.num_scales}"
                )
    return found


def _arithmetic(integer: bool, dynamic: bool) -> str:
    if dynamic:
        return "integers of ranges that every pass measures"
    return "integers" if integer else "float"


def _is_affine(setting: Setting) -> bool:
    return setting.scheme in ("w8", "w8a8", "w8a8_dynamic", "w8a16", "w4")


def read_back(path: Path, source: Path, plan: GraphPlan) -> GraphFacts:
    """Read what a file holds.

    Args:
        path: the quantized `.onnx` or `.tflite` file or `.mlpackage`.
        source: the fp32 file of the same format, which says which operation is which layer.
        plan: names the layers; its settings are not looked at.

    Raises:
        ConverterError: the file cannot be read, or has other operations than its source.

    """
    readers = {".onnx": _read_onnx, ".tflite": _read_tflite, ".mlpackage": _read_coreml}
    with converter(f"reader of {path.suffix}", "quantize"):
        return readers[path.suffix](path, source, plan)


@dataclass(frozen=True, slots=True)
class _Row:
    """What was found of one operation of a layer."""

    bits: int
    scales: Array
    integer: bool
    dynamic: bool = False


def _collect(plan: GraphPlan, found: Mapping[str, Sequence[_Row]]) -> tuple[LayerFacts, ...]:
    """Join what was found of each layer's operations: integer only if all of them are."""
    facts = []
    for layer in plan.layers:
        rows = found.get(layer.name)
        if not rows:
            raise ConverterError(f"{plan.graph}: the file has no operation of {layer.name}")
        scales = max((row.scales for row in rows), key=np.size)
        facts.append(
            LayerFacts(
                name=layer.name,
                kind=layer.kind,
                macs=layer.macs,
                weight_bits=max(row.bits for row in rows),
                num_scales=int(scales.size),
                scales=(float(scales.min()), float(scales.max())) if scales.size else None,
                integer=all(row.integer for row in rows),
                dynamic=any(row.dynamic for row in rows),
            )
        )
    return tuple(facts)


def _read_onnx(path: Path, source: Path, plan: GraphPlan) -> GraphFacts:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    users: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    owner = {node: layer.name for layer in plan.layers for node in layer.nodes}
    found: dict[str, list[_Row]] = {}
    floats: Counter[str] = Counter()
    fixed = {*constants, ""}  # and what is made of them alone: weights that are unpacked
    for node in graph.node:
        if fixed.issuperset(node.input):
            fixed.update(node.output)
            continue
        integer = any(_is_activation(maker.get(name), constants) for name in node.input)
        if node.name in owner and node.op_type in KINDS:
            result = integer and _is_quantized(node, graph.node, users)
            stored, scales = stored_weight(node.input[1], maker, constants)
            row = _Row(BITS[str(stored.dtype)], scales, result)
            found.setdefault(owner[node.name], []).append(row)
            integer = result
        if not integer and node.op_type not in QUANTIZERS:
            floats[node.op_type] += 1
    return GraphFacts(graph=plan.graph, layers=_collect(plan, found), float_operations=dict(floats))


def _is_activation(node: Any, constants: dict[str, Any]) -> bool:
    """Say whether a value was integers before: dequantized, and no constant."""
    return (
        node is not None and node.op_type == "DequantizeLinear" and node.input[0] not in constants
    )


def _is_quantized(node: Any, nodes: Any, users: dict[str, set[str]]) -> bool:
    """Say whether a layer's result is quantized, at once or after its activation."""
    result = node.output[0]
    if users.get(result) == {"QuantizeLinear"}:
        return True
    after = [n for n in nodes if result in n.input]
    return (
        len(after) == 1
        and after[0].op_type in ("Relu", "Clip")
        and users.get(after[0].output[0]) == {"QuantizeLinear"}
    )


def _read_tflite(path: Path, source: Path, plan: GraphPlan) -> GraphFacts:
    from pocketportrait.quantize.tflite_graph import WEIGHTED, layer_of_operation, read_tflite

    floats = read_tflite(source)
    names = layer_of_operation(floats, plan.layers, source.name)
    order = [names.get(n) for n, o in enumerate(floats) if o.kind in WEIGHTED]
    operations = read_tflite(path)
    weighted = [o for o in operations if o.kind in WEIGHTED]
    if len(order) != len(weighted):
        raise ConverterError(f"{path.name}: want {len(order)} layers, the file has {len(weighted)}")
    unpacked = {o.outputs[0].index: o.inputs[0] for o in operations if o.kind == "DEQUANTIZE"}
    found: dict[str, list[_Row]] = {}
    for name, operation in zip(order, weighted, strict=True):
        if name is None:
            continue
        taken = operation.inputs[1]
        weight = unpacked.get(taken.index, taken)
        floats_in = operation.inputs[0].dtype == "float32"
        integer = operation.inputs[0].dtype == "int8" and operation.outputs[0].dtype == "int8"
        dynamic = floats_in and taken.dtype.startswith("int")  # TFLite calls it hybrid
        scales = weight.scale if weight.dtype.startswith("int") else np.zeros(0, np.float32)
        found.setdefault(name, []).append(_Row(BITS[weight.dtype], scales, integer, dynamic))
    left = Counter(
        o.kind for o in operations if o.kind not in QUANTIZERS and o.outputs[0].dtype == "float32"
    )
    return GraphFacts(graph=plan.graph, layers=_collect(plan, found), float_operations=dict(left))


def _read_coreml(path: Path, source: Path, plan: GraphPlan) -> GraphFacts:
    from pocketportrait.quantize.coreml_graph import layer_of_operation, read_coreml

    floats = read_coreml(source)
    names = {
        floats[n].name: name
        for n, name in layer_of_operation(floats, plan.layers, source.name).items()
    }
    operations = read_coreml(path)
    dequantized = {name for o in operations if o.kind == "dequantize" for name in o.outputs}
    quantized = {name for o in operations if o.kind == "quantize" for name in o.inputs}
    for operation in operations:  # an activation is part of the layer before
        if operation.kind in ACTIVATIONS and operation.outputs[0] in quantized:
            quantized.update(operation.inputs)
    found: dict[str, list[_Row]] = {}
    left: Counter[str] = Counter()
    for operation in operations:
        integer = bool(operation.inputs) and all(name in dequantized for name in operation.inputs)
        if operation.name in names and operation.weight is not None:
            weight = operation.weight
            integer = integer and operation.outputs[0] in quantized
            row = _Row(weight.bits, weight.scale, integer)
            found.setdefault(names[operation.name], []).append(row)
        if not integer and operation.kind not in QUANTIZERS:
            left[operation.kind] += 1
    return GraphFacts(graph=plan.graph, layers=_collect(plan, found), float_operations=dict(left))
