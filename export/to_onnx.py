"""A graph of the student as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pocketportrait import atomic
from pocketportrait.contract import GraphSpec
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.export.example import check_module, example_inputs

if TYPE_CHECKING:
    import onnx

OPSET = 18


def to_onnx(
    module: nn.Module, spec: GraphSpec, path: Path, *, precision: str = "fp32", opset: int = OPSET
) -> Path:
    """Write `module` with the names and static shapes of its contract.

    Args:
        module: a graph of the student, in eval mode.
        spec: its contract.
        path: file to write or replace.
        precision: `fp32`, or `fp16`: weights and arithmetic in float16, inputs and outputs float32.
        opset: version of ONNX's operators, 18 or later.

    Raises:
        InputError: the module is in training mode, or the precision is unknown.
        MissingToolError: the `export` extra is not installed.
        ConverterError: the exporter failed, or wrote another file than asked for.

    """
    check_module(module, precision)
    with converter("torch.onnx"):
        model = _convert(module, spec, opset)
    if precision == "fp16":
        model = _halve(model)
    _write(model, spec, path, opset)
    return path


def halve_onnx(source: Path, spec: GraphSpec, path: Path) -> Path:
    """Write the `fp16` form of an `fp32` file: the same bytes as `to_onnx` would, sooner.

    Raises:
        MissingToolError: the `export` extra is not installed.
        ConverterError: the conversion failed.

    """
    with converter("onnx"):
        import onnx

        model = onnx.load(source)
    _write(_halve(model), spec, path, OPSET)
    return path


def _convert(module: nn.Module, spec: GraphSpec, opset: int) -> onnx.ModelProto:
    import onnxsim  # takes seconds to import
    import torch

    program = torch.onnx.export(
        module,
        example_inputs(spec),
        dynamo=True,
        opset_version=opset,
        input_names=[t.name for t in spec.inputs],
        output_names=[t.name for t in spec.outputs],
        verbose=False,
    )
    assert program is not None
    model, same = onnxsim.simplify(program.model_proto)
    if not same:
        raise ConverterError(
            "onnxsim changed what the graph computes; report it with the model's sizes"
        )
    return _without_traces(model)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what tells of the machine: stack traces with paths, notes and versions of tools."""
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "pocketportrait", "", ""
    graph = model.graph
    graph.name, graph.doc_string = "pocketportrait", ""
    parts: list[Any] = [graph, *graph.node, *graph.input, *graph.output, *graph.value_info]
    for part in [*parts, *graph.initializer]:
        part.doc_string = ""
        del part.metadata_props[:]
    return model


def _halve(model: onnx.ModelProto) -> onnx.ModelProto:
    with converter("onnxruntime float16"):
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        halved = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
        halved.topological_sort(is_deterministic=True)  # it appends its casts at the end
        return _without_traces(halved.model)


def _write(model: onnx.ModelProto, spec: GraphSpec, path: Path, opset: int) -> None:
    with converter("onnx.checker"):
        import onnx

        onnx.checker.check_model(model, full_check=True)
    _check_read_back(model, spec, opset)
    atomic.write_bytes(path, model.SerializeToString(deterministic=True))


def _check_read_back(model: onnx.ModelProto, spec: GraphSpec, opset: int) -> None:
    """Compare the file with the wish; exporters have kept another opset in silence."""
    got_opset = {i.domain: i.version for i in model.opset_import}
    if got_opset != {"": opset}:
        raise ConverterError(
            f"{spec.name}: want ONNX opset {opset} alone, got {got_opset}; ask for 18 or later"
        )
    for side in ("inputs", "outputs"):
        want = [(t.name, t.shape) for t in getattr(spec, side)]
        values = getattr(model.graph, side.removesuffix("s"))
        got = [(v.name, tuple(d.dim_value for d in v.type.tensor_type.shape.dim)) for v in values]
        types = {v.type.tensor_type.elem_type for v in values}
        if want != got or types != {1}:
            raise ConverterError(f"{spec.name}: want float32 {side} {want}, got {got}")
