"""Core ML: palettes, linear weights and 8-bit activations through coremltools.optimize.

coremltools measures ranges with macOS alone, and version 9.0 keeps the last sample's only. Our oracle
measures them on any system, over all samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array, GraphSpec
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.export.mlpackage import PIXEL, save_checked
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.coreml_graph import (
    CoremlOperation,
    layer_of_operation,
    read_coreml,
)
from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan, Range, Setting

Ranges = dict[str, dict[str, float]]

ACTIVATIONS = {"relu", "clip", "relu6"}  # part of the layer before
CARRIERS = {*ACTIVATIONS, "transpose", "reshape"}  # pass on what they get
JOINS = {"add"}  # coremltools quantizes no products
PALETTE_BITS = 6
IOS17 = 8  # specification version


def quantize_coreml(
    source: Path, spec: GraphSpec, plan: GraphPlan, feeds: Sequence[Feed], path: Path
) -> Path:
    """Write one graph of a recipe as an `.mlpackage`.

    Args:
        source: the fp32 package.
        spec: the graph's contract; names, shapes and types of the result are compared with it.
        plan: a setting for every layer.
        feeds: calibration inputs; unused where nothing computes in integers.
        path: `.mlpackage` folder to write or replace.

    Raises:
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed, or wrote another package than asked for.

    """
    with converter("coremltools.optimize", "quantize"):
        import coremltools as ct

        operations = read_coreml(source)
        names = layer_of_operation(operations, plan.layers, source.name)
        model = ct.models.MLModel(str(source), skip_model_load=True)
        images = any(f.type.WhichOneof("Type") == "imageType" for f in _features(model))
        model = _quantize_weights(model, operations, names, plan)
        if plan.integer:
            model = _quantize_activations(model, source, operations, names, plan, feeds)
        if model.get_spec().specificationVersion > IOS17:
            raise ConverterError(f"{path.name}: want a package for iOS 17, got a later one")
    return save_checked(model, spec, path, io="image" if images else "tensor")


def _features(model: Any) -> list[Any]:
    description = model.get_spec().description
    return [*description.input, *description.output]


def _quantize_weights(
    model: Any, operations: Sequence[CoremlOperation], names: Mapping[int, str], plan: GraphPlan
) -> Any:
    import coremltools.optimize.coreml as cto

    palettes: dict[str, Any] = {}
    linear: dict[str, Any] = {}
    for number, layer in names.items():
        setting, weight = plan.settings[layer], operations[number].weight
        assert weight is not None
        if setting.scheme == "palette6":
            palettes[weight.name] = _palette(weight.values)
        elif setting.scheme in ("w8", "w8a8"):
            linear[weight.name] = _linear(setting)
    if palettes:
        model = cto.palettize_weights(model, cto.OptimizationConfig(op_name_configs=palettes))
    if linear:
        model = cto.linear_quantize_weights(model, cto.OptimizationConfig(op_name_configs=linear))
    return model


def _palette(weight: Array | None) -> Any:
    """Return the settings of one weight's palette.

    With fewer distinct numbers than colours, coremltools' k-means moved empty clusters away from the
    numbers: of a weight of four, 1 became -4.8. Such a weight is its own palette.
    """
    import coremltools.optimize.coreml as cto

    if weight is None or np.unique(weight).size > 2**PALETTE_BITS:
        return cto.OpPalettizerConfig(mode="kmeans", nbits=PALETTE_BITS, weight_threshold=0)
    return cto.OpPalettizerConfig(mode="custom", lut_function=own_palette, weight_threshold=0)


def own_palette(weight: Array) -> tuple[Array, Array]:
    """Return the distinct numbers of a weight, the last one repeated, and which of them stand where."""
    numbers, indices = np.unique(weight, return_inverse=True)
    colours = np.pad(numbers, (0, 2**PALETTE_BITS - numbers.size), mode="edge")
    return colours.astype(weight.dtype), indices.ravel().astype(np.uint8)


def _linear(setting: Setting) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.OpLinearQuantizerConfig(
        mode="linear_symmetric" if setting.symmetric else "linear",
        dtype="int8" if setting.symmetric else "uint8",
        granularity=f"per_{setting.granularity}",
        weight_threshold=0,
    )


def _quantize_activations(
    model: Any,
    source: Path,
    operations: Sequence[CoremlOperation],
    names: Mapping[int, str],
    plan: GraphPlan,
    feeds: Sequence[Feed],
) -> Any:
    import coremltools.optimize.coreml as cto

    chosen = _integer_operations(operations, names, plan)
    config = cto.OptimizationConfig(
        op_name_configs={
            name: cto.OpLinearQuantizerConfig(mode="linear", dtype="int8") for name in chosen
        }
    )
    ranges = measure_ranges(source, operations, feeds, _results(operations, names))
    narrow_to_activations(ranges, operations)
    _take_ranges(ranges, operations, names, plan)
    with _ranges_of_the_oracle(ranges):
        return cto.linear_quantize_activations(model, config, [])


def narrow_to_activations(ranges: Ranges, operations: Sequence[CoremlOperation]) -> None:
    """Give values that only an activation takes the range of what it gives.

    coremltools rounds a layer's result before its activation too; numbers that are cut off a moment
    later would take most of the 256 steps.
    """
    users: dict[str, list[CoremlOperation]] = {}
    for operation in operations:
        for name in operation.inputs:
            users.setdefault(name, []).append(operation)
    for name, after in users.items():
        if len(after) == 1 and after[0].kind in ACTIVATIONS and after[0].outputs[0] in ranges:
            ranges[name] = ranges[after[0].outputs[0]]


def _take_ranges(
    ranges: Ranges,
    operations: Sequence[CoremlOperation],
    names: Mapping[int, str],
    plan: GraphPlan,
) -> None:
    """Put learnt ranges in the place of measured ones; of a value's several ranges the widest holds."""
    found: dict[str, list[Range]] = {}
    for number, layer in names.items():
        operation = operations[number]
        values = [(INPUT, operation.inputs[0]), (RESULT, operation.outputs[0])]
        values += [
            (RESULT, one.outputs[0])
            for one in operations
            if one.kind in ACTIVATIONS and operation.outputs[0] in one.inputs
        ]
        for side, value in values:
            if (learnt := plan.range_of(layer, side)) is not None:
                found.setdefault(value, []).append(learnt)
    for value, pairs in found.items():
        ranges[value] = {
            "rmin": min(low for low, _ in pairs),
            "rmax": max(high for _, high in pairs),
        }


def _integer_operations(
    operations: Sequence[CoremlOperation], names: Mapping[int, str], plan: GraphPlan
) -> list[str]:
    """Return the names of operations whose inputs become integers, as the ONNX backend chooses."""
    chosen: list[str] = []
    from_integer: set[str] = set()
    for number, operation in enumerate(operations):
        reached = any(name in from_integer for name in operation.inputs)
        joins = plan.between == "int8" and operation.kind in JOINS and len(operation.inputs) > 1
        layer = number in names and plan.settings[names[number]].integer
        if layer or (reached and joins):
            chosen.append(operation.name)
        if layer or (reached and (joins or operation.kind in CARRIERS)):
            from_integer.update(operation.outputs)
    return chosen


def _results(operations: Sequence[CoremlOperation], names: Mapping[int, str]) -> set[str]:
    """Return the values that layers give, behind their activations, too."""
    found: set[str] = set()
    for number, operation in enumerate(operations):
        follows = operation.kind in ACTIVATIONS and operation.inputs[0] in found
        if number in names or follows:
            found.update(operation.outputs)
    return found


def measure_ranges(
    package: Path,
    operations: Sequence[CoremlOperation],
    feeds: Sequence[Feed],
    results: Collection[str] = (),
) -> Ranges:
    """Return the smallest and largest number of every float value of a package.

    Of what layers give, those of all feeds; of what is made from it in float (sums, products, enlarged
    and joined maps), the mean over feeds, as NNCF takes it: their extremes are rare and far out, and
    took up to two thirds of the steps (docs/decisions/0006).

    Args:
        package: the fp32 package, run by the oracle.
        operations: of the package.
        feeds: contract inputs.
        results: values that layers give.

    """
    import torch

    from pocketportrait.runtime.coreml_package import colour_orders
    from pocketportrait.runtime.mil.program import MilProgram

    program = MilProgram(package)
    orders = colour_orders(program.spec)
    keep = [operation.outputs[0] for operation in operations if operation.result.startswith("fp")]
    seen: dict[str, list[tuple[float, float]]] = {}
    for feed in feeds:
        values = {name: torch.from_numpy(_as_fed(v, orders.get(name))) for name, v in feed.items()}
        for name, value in {**values, **program.run(values, keep)}.items():
            seen.setdefault(name, []).append((float(value.min()), float(value.max())))
    ranges: Ranges = {}
    for name, pairs in seen.items():
        low, high = np.array(pairs).T
        whole = name in results
        ranges[name] = {
            "rmin": float(low.min() if whole else low.mean()),
            "rmax": float(high.max() if whole else high.mean()),
        }
    return ranges


def _as_fed(value: Array, order: str | None) -> Array:
    """Return a contract tensor as the program gets it: pictures of Core ML images are 0..255."""
    if order is None:
        return np.array(value)
    return np.ascontiguousarray(value[:, ::-1] if order == "BGR" else value) * np.float32(PIXEL)


@contextlib.contextmanager
def _ranges_of_the_oracle(ranges: Ranges) -> Iterator[None]:
    """Let coremltools take our ranges in place of those that it would measure itself.

    It also narrows ranges to float16, and then refuses the scales that it made of them in a float32
    program: they stay float32.
    """
    from coremltools.optimize import _utils as numbers
    from coremltools.optimize.coreml import _post_training_quantization as module

    def wide(stats: Ranges, name: str) -> Array:
        return np.array([stats[name]["rmin"], stats[name]["rmax"]], np.float32)

    own = module._get_activation_calibration_stats, numbers.get_min_and_max_values
    module._get_activation_calibration_stats = lambda *_: ranges
    numbers.get_min_and_max_values = lambda activation_stats, var_name: wide(
        activation_stats, var_name
    )
    try:
        yield
    finally:
        module._get_activation_calibration_stats, numbers.get_min_and_max_values = own
