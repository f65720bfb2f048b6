"""ONNX: static int8 through NNCF, and weights alone as int8 constants, unpacked when a file is loaded.

Two things are mended after NNCF, both measured in docs/decisions/0006: activations become unsigned, and
every integer layer gets a quantized result; without them ONNX Runtime computes such layers in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketportrait import atomic
from pocketportrait.contract import GraphSpec
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.export.to_onnx import halve_onnx
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.layers import WEIGHT, Layer
from pocketportrait.quantize.onnx_ranges import FUSED, take_ranges, unsigned_scale
from pocketportrait.quantize.onnx_tents import tents_in_one
from pocketportrait.quantize.onnx_weights import unpack_eight_bits, unpack_four_bits
from pocketportrait.quantize.plan import GraphPlan, Setting
from pocketportrait.quantize.weights import quantize_weight

if TYPE_CHECKING:
    import onnx

CARRIERS = {"Relu", "Clip", "Transpose", "Reshape"}  # pass on what they get
JOINS = {"Add", "Mul"}
OPSET_OF_FOUR_BITS, IR_OF_FOUR_BITS = 21, 10
SHIFT = 128  # from int8 to uint8: the same numbers


def quantize_onnx(
    source: Path, spec: GraphSpec, plan: GraphPlan, feeds: Sequence[Feed], path: Path
) -> Path:
    """Write one graph of a recipe as an ONNX file.

    Args:
        source: the fp32 file.
        spec: the graph's contract; names, shapes and types of the result are compared with it.
        plan: a setting for every layer.
        feeds: calibration inputs; unused where nothing computes in integers.
        path: file to write or replace.

    Raises:
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed, or wrote another file than asked for.

    """
    if plan.fp16:
        return halve_onnx(source, spec, path)
    with converter("nncf", "quantize"):
        import onnx

        model = onnx.load(source)
        if plan.integer:
            model = _make_static(model, plan, feeds)
            tents_in_one(model)
        stored = [*plan.of("w8"), *plan.of("w4")]
        if plan.of("w4"):
            _allow_four_bits(model)
        if stored:
            _store_weights(model, [(layer, plan.settings[layer.name]) for layer in stored])
        _drop_traces(model)
        onnx.checker.check_model(model, full_check=True)
        _check_borders(model, spec)
    atomic.write_bytes(path, model.SerializeToString(deterministic=True))
    return path


def _make_static(model: onnx.ModelProto, plan: GraphPlan, feeds: Sequence[Feed]) -> onnx.ModelProto:
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )

    layers = {node for layer in plan.integer for node in layer.nodes}
    integer = _integer_nodes(model, layers, plan.between == "int8")
    results = _results(model, layers)
    ranges = measure_ranges(model, results, feeds)
    per_channel = all(plan.settings[layer.name].granularity == "channel" for layer in plan.integer)
    quantized: onnx.ModelProto = nncf.quantize(
        model,
        nncf.Dataset(list(feeds)),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(feeds),
        ignored_scope=nncf.IgnoredScope(
            names=[node.name for node in model.graph.node if node.name not in integer],
            validate=False,
        ),
        advanced_parameters=AdvancedQuantizationParameters(
            disable_bias_correction=not plan.bias_correction,
            # by default it halves the first layer's steps (7 bits), for CPUs that saturate 16-bit sums
            overflow_fix=OverflowFix.DISABLE,
            # of whole tensors: ONNX Runtime runs no convolution with a scale a channel in integers
            activations_quantization_params=QuantizationParameters(per_channel=False),
            weights_quantization_params=QuantizationParameters(per_channel=per_channel),
        ),
    )
    make_unsigned(quantized)
    _quantize_results(quantized, ranges)
    if plan.ranges:
        take_ranges(quantized, plan)
        _drop_unused(quantized)
    return quantized


def _integer_nodes(model: onnx.ModelProto, layers: set[str], joins: bool) -> set[str]:
    """Return the names of nodes that take part in integer arithmetic.

    Additions and products follow if one of their inputs comes from an integer layer. Concatenations
    never do: NNCF would give their inputs one common scale, and a small one would drown.
    """
    integer, from_integer = set(layers), set()
    for node in model.graph.node:
        reached = any(name in from_integer for name in node.input)
        if reached and (node.op_type in CARRIERS or (joins and node.op_type in JOINS)):
            integer.add(node.name)
        if node.name in integer:
            from_integer.update(node.output)
    return integer


def _results(model: onnx.ModelProto, layers: set[str]) -> list[str]:
    """Return the values that integer layers give, after an activation that belongs to them."""
    consumers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    results = []
    for node in model.graph.node:
        if node.name in layers:
            users = consumers.get(node.output[0], [])
            fused = len(users) == 1 and users[0].op_type in FUSED
            results.append(str(users[0].output[0] if fused else node.output[0]))
    return results


def measure_ranges(
    model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest number that values of a float model take over all feeds."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    outputs = {value.name for value in watched.graph.output}
    added = [onnx.ValueInfoProto(name=name) for name in names if name not in outputs]
    watched.graph.output.extend(added)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ranges = dict.fromkeys(names, (np.inf, -np.inf))
    for feed in feeds:
        for name, value in zip(names, session.run(list(names), feed), strict=True):
            low, high = ranges[name]
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges


def make_unsigned(model: onnx.ModelProto) -> None:
    """Shift activations from int8 to uint8: the same numbers, which ONNX Runtime computes fast."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    quantized = {n.output[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    made: dict[str, Any] = {}
    for node in model.graph.node:
        activation = node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] in quantized
        )
        if not activation:
            continue
        zero = numpy_helper.to_array(constants[node.input[2]])
        if zero.dtype == np.int8:
            name = f"{node.input[2]}_unsigned"
            shifted = np.asarray(zero.astype(np.int16) + SHIFT).astype(np.uint8)
            made[name] = numpy_helper.from_array(shifted, name)
            node.input[2] = name
    model.graph.initializer.extend(made.values())
    _drop_unused(model)
    kept = [value for value in model.graph.value_info if value.name not in quantized]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)


def _quantize_results(model: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> None:
    """Quantize results that nothing quantizes yet; the dequantized value takes the old name."""
    from onnx import helper, numpy_helper

    users: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        name = node.output[0]
        if name not in ranges or users.get(name) == {"QuantizeLinear"}:
            continue
        scale, zero = unsigned_scale(*ranges[name])
        node.output[0] = f"{name}_float"
        constants = [
            numpy_helper.from_array(np.asarray(scale, np.float32), f"{name}_scale"),
            numpy_helper.from_array(np.asarray(zero, np.uint8), f"{name}_zero_point"),
        ]
        model.graph.initializer.extend(constants)
        pair = [constant.name for constant in constants]
        number = f"{name}_quantized"
        nodes += [
            helper.make_node("QuantizeLinear", [f"{name}_float", *pair], [number], f"Q_{name}"),
            helper.make_node("DequantizeLinear", [number, *pair], [name], f"DQ_{name}"),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _store_weights(model: onnx.ModelProto, stored: Sequence[tuple[Layer, Setting]]) -> None:
    """Replace float weights by integers and what unpacks them, whose result has the old name."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[Any] = []
    for layer, setting in stored:
        name = layer.name if layer.name in constants else layer.name + WEIGHT
        axis = 1 if _is_matmul(model, layer) else 0
        packed = quantize_weight(numpy_helper.to_array(constants[name]), setting, axis)
        unpack = unpack_four_bits if setting.weight_bits == 4 else unpack_eight_bits
        made, tensors = unpack(name, packed, axis)
        nodes += made
        model.graph.initializer.extend(tensors)
        model.graph.initializer.remove(constants[name])
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _allow_four_bits(model: onnx.ModelProto) -> None:
    """Raise the opset to the first with 4-bit integers; what our operators mean is the same in both."""
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, OPSET_OF_FOUR_BITS)
    model.ir_version = max(model.ir_version, IR_OF_FOUR_BITS)


def _is_matmul(model: onnx.ModelProto, layer: Layer) -> bool:
    return any(n.op_type == "MatMul" and n.name in layer.nodes for n in model.graph.node)


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _drop_traces(model: onnx.ModelProto) -> None:
    """Drop what tells of tools and their versions, so that equal recipes give equal bytes."""
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "pocketportrait", "", ""
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _check_borders(model: onnx.ModelProto, spec: GraphSpec) -> None:
    for side in ("inputs", "outputs"):
        want = [(t.name, t.shape) for t in getattr(spec, side)]
        values = getattr(model.graph, side.removesuffix("s"))
        got = [(v.name, tuple(d.dim_value for d in v.type.tensor_type.shape.dim)) for v in values]
        if sorted(want) != sorted(got) or {v.type.tensor_type.elem_type for v in values} != {1}:
            raise ConverterError(f"{spec.name}: want float32 {side} {want}, got {got}")
