"""Read-back: what a quantized file really holds, compared with what its recipe said.

Nothing is taken from the tools that wrote the file: bits, scales and types are read from it again.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.quantize.layers import KINDS, Layer
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
    integer: bool  # whether it computes in integers


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
        if layer.integer != setting.integer:
            names = {True: "integers", False: "float"}
            found.append(
                f"{where}: want it to compute in {names[setting.integer]},"
                f" the file computes in {names[layer.integer]}"
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


def _is_affine(setting: Setting) -> bool:
    return setting.scheme in ("w8", "w8a8", "w8a16", "w4")


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


def _facts(layer: Layer, bits: int, scales: int, integer: bool) -> LayerFacts:
    return LayerFacts(
        name=layer.name,
        kind=layer.kind,
        macs=layer.macs,
        weight_bits=bits,
        num_scales=scales,
        integer=integer,
    )


def _collect(
    plan: GraphPlan, found: dict[str, list[tuple[int, int, bool]]]
) -> tuple[LayerFacts, ...]:
    """Join what was found of each layer's operations: integer only if all of them are."""
    facts = []
    for layer in plan.layers:
        rows = found.get(layer.name)
        if not rows:
            raise ConverterError(f"{plan.graph}: the file has no operation of {layer.name}")
        bits, scales = max(row[0] for row in rows), max(row[1] for row in rows)
        facts.append(_facts(layer, bits, scales, all(row[2] for row in rows)))
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
    found: dict[str, list[tuple[int, int, bool]]] = {}
    floats: Counter[str] = Counter()
    for node in graph.node:
        integer = any(_is_activation(maker.get(name), constants) for name in node.input)
        if node.name in owner and node.op_type in KINDS:
            result = integer and _is_quantized(node, graph.node, users)
            bits, scales = _onnx_weight(node.input[1], maker, constants)
            found.setdefault(owner[node.name], []).append((bits, scales, result))
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


def _onnx_weight(name: str, maker: dict[str, Any], constants: dict[str, Any]) -> tuple[int, int]:
    node = maker.get(name)
    while node is not None and node.op_type == "Cast":  # float16 files widen what must be float32
        name = node.input[0]
        node = maker.get(name)
    if node is None:
        return BITS[str(constants[name].dtype)], 0
    stored = constants[node.input[0]]
    return BITS[str(stored.dtype)], int(constants[node.input[1]].size)


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
    found: dict[str, list[tuple[int, int, bool]]] = {}
    for name, operation in zip(order, weighted, strict=True):
        if name is None:
            continue
        weight = unpacked.get(operation.inputs[1].index, operation.inputs[1])
        integer = operation.inputs[0].dtype == "int8" and operation.outputs[0].dtype == "int8"
        scales = int(np.size(weight.scale)) if weight.dtype.startswith("int") else 0
        found.setdefault(name, []).append((BITS[weight.dtype], scales, integer))
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
    found: dict[str, list[tuple[int, int, bool]]] = {}
    left: Counter[str] = Counter()
    for operation in operations:
        integer = bool(operation.inputs) and all(name in dequantized for name in operation.inputs)
        if operation.name in names and operation.weight is not None:
            weight = operation.weight
            row = (weight.bits, int(weight.scale.size), integer)
            found.setdefault(names[operation.name], []).append(row)
        if not integer and operation.kind not in QUANTIZERS:
            left[operation.kind] += 1
    return GraphFacts(graph=plan.graph, layers=_collect(plan, found), float_operations=dict(left))
