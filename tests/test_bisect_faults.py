"""Faults that are planted in exported files before hashing: each is caught and found where it is.

Every format is edited as its own file, so that one operation alone is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, BundleWriter
from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.validation.bisect_repro import replay
from pocketportrait.validation.bisect_search import BisectReport, bisect, bisect_report_schema
from pocketportrait.validation.checks import Status
from pocketportrait.validation.verify import verify

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ("sign", "channel order", "scale")
KINDS = (*WEIGHTS, "half a pixel", "missing operation")
QUICK = "scale"  # one kind a format in the fast suite
MODULE = "flow.down"  # a strided convolution in the middle of the renderer, in all formats
MODULES = {
    "half a pixel": "after flow.up_eighth",
    "missing operation": "after flow.quarter_again.first",
}
RESIZE, RELU = 1, 5  # which bilinear resize, which ReLU after a convolution, in order of execution


def wrong(weight: Array, kind: str) -> Array:
    """Return a weight [out, in, ...] with one fault."""
    changed = weight.copy()
    if kind == "sign":
        flat = changed.reshape(-1)
        flat[np.abs(flat).argmax()] *= -1
    elif kind == "channel order":
        changed = np.ascontiguousarray(changed[:, ::-1])
    else:
        changed *= np.float32(1.05)
    return changed


def edit_onnx(path: Path, kind: str) -> str:
    """Plant a fault; return the name of the node that is wrong."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    if kind in WEIGHTS:
        (tensor,) = (t for t in graph.initializer if t.name == f"{MODULE}.weight")
        tensor.CopyFrom(
            numpy_helper.from_array(wrong(numpy_helper.to_array(tensor), kind), tensor.name)
        )
        (node,) = (n for n in graph.node if f"{MODULE}.weight" in n.input)
    elif kind == "half a pixel":
        node = [n for n in graph.node if n.op_type == "Resize"][RESIZE]
        kept = [a for a in node.attribute if a.name != "coordinate_transformation_mode"]
        del node.attribute[:]
        node.attribute.extend(
            [*kept, helper.make_attribute("coordinate_transformation_mode", "asymmetric")]
        )
    else:
        node = relu_after_conv(graph.node)
        node.op_type = "Identity"
    onnx.save(model, path)
    return node.name


def relu_after_conv(nodes: Any) -> Any:
    convolved = {n.output[0] for n in nodes if n.op_type == "Conv"}
    return [n for n in nodes if n.op_type == "Relu" and n.input[0] in convolved][RELU]


def edit_tflite(path: Path, kind: str) -> str:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]

    def of(name: str) -> list[Any]:
        number = getattr(schema.BuiltinOperator, name)
        return [o for o in graph.operators if codes[o.opcodeIndex] == number]

    def name_of(operator: Any) -> str:
        return str(graph.tensors[operator.outputs[0]].name.decode())

    if kind in WEIGHTS:
        operator = next(o for o in of("CONV_2D") if "Conv2d_down;" in name_of(o))
        tensor = graph.tensors[operator.inputs[1]]
        buffer = model.buffers[tensor.buffer]
        weight = np.frombuffer(bytes(buffer.data), np.float32).reshape(list(tensor.shape))
        changed = wrong(np.ascontiguousarray(weight.transpose(0, 3, 1, 2)), kind)
        buffer.data = np.frombuffer(
            np.ascontiguousarray(changed.transpose(0, 2, 3, 1)).tobytes(), np.uint8
        )
    elif kind == "half a pixel":
        operator = of("RESIZE_BILINEAR")[RESIZE]
        operator.builtinOptions.halfPixelCenters = False
    else:
        fused = [o for o in of("CONV_2D") if o.builtinOptions.fusedActivationFunction == 1]
        operator = fused[RELU]
        operator.builtinOptions.fusedActivationFunction = 0
    name = name_of(operator)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return name


def edit_coreml(path: Path, kind: str) -> str:
    from pocketportrait.runtime.coreml_package import import_coremltools

    import_coremltools()
    from coremltools.proto import Model_pb2

    file = path / "Data/com.apple.CoreML/model.mlmodel"
    spec: Any = Model_pb2.Model()
    spec.ParseFromString(file.read_bytes())
    main_function = spec.mlProgram.functions["main"]
    operations = main_function.block_specializations[main_function.opset].operations
    if kind in WEIGHTS:
        (operation,) = (
            o for o in operations if o.type == "conv" and strides_of(operations, o) == [2, 2]
        )  # the renderer has one strided convolution
        const = constant(operations, operation, "weight")
        edit_blob(path, const.attributes["val"], kind)
    elif kind == "half a pixel":
        operation = [o for o in operations if o.type == "upsample_bilinear"][RESIZE]
        flag = constant(operations, operation, "align_corners")
        copy = operations.add()  # the constant may be shared
        copy.CopyFrom(flag)
        copy.outputs[0].name = "other_corners"
        copy.attributes["val"].immediateValue.tensor.bools.values[0] = True
        operation.inputs["align_corners"].arguments[0].name = "other_corners"
        ordered = [copy, *operations[:-1]]
        listed = [type(o).FromString(o.SerializeToString()) for o in ordered]
        del operations[:]
        operations.extend(listed)
    else:
        convolved = {o.outputs[0].name for o in operations if o.type == "conv"}
        relus = [
            o
            for o in operations
            if o.type == "relu" and o.inputs["x"].arguments[0].name in convolved
        ]
        operation = relus[RELU]
        operation.type = "identity"
    name = str(operation.outputs[0].name) if kind != "half a pixel" else nth_resize(operations)
    file.write_bytes(spec.SerializeToString(deterministic=True))
    return name


def nth_resize(operations: Any) -> str:
    return str([o for o in operations if o.type == "upsample_bilinear"][RESIZE].outputs[0].name)


def constant(operations: Any, operation: Any, argument: str) -> Any:
    name = operation.inputs[argument].arguments[0].name
    (found,) = (o for o in operations if o.outputs[0].name == name)
    return found


def strides_of(operations: Any, operation: Any) -> list[int]:
    const = constant(operations, operation, "strides")
    return list(const.attributes["val"].immediateValue.tensor.ints.values)


def edit_blob(path: Path, value: Any, kind: str) -> None:
    """Change numbers in the blob file; an entry's head is mark, type, size and place of its data."""
    blob = path / "Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(blob.read_bytes())
    head = value.blobFileValue.offset
    size, start = np.frombuffer(bytes(data[head + 8 : head + 24]), np.uint64).tolist()
    shape = [d.constant.size for d in value.type.tensorType.dimensions]
    weight = np.frombuffer(bytes(data[start : start + size]), np.float32).reshape(shape)
    data[start : start + size] = wrong(weight, kind).tobytes()
    blob.write_bytes(bytes(data))


EDITS: dict[str, tuple[str, Callable[[Path, str], str]]] = {
    "onnx": ("render.onnx", edit_onnx),
    "tflite": ("render.tflite", edit_tflite),
    "coreml": ("render.mlpackage", edit_coreml),
}


def planted(bundle: Bundle, out: Path, format: str, kind: str) -> tuple[Path, str]:
    """Write a copy of a bundle with a fault whose hashes agree; return it and the wrong operation."""
    manifest = bundle.manifest
    file, edit = EDITS[format]
    with BundleWriter(out) as writer:
        writer.carry_over(bundle)
        name = edit(writer.folder / format / "fp32" / file, kind)
        writer.finish(
            graphs=manifest.graphs,
            code_slices=manifest.code_slices,
            golden=manifest.golden,
            tools=manifest.tools,
            licence=manifest.licence,
            model=manifest.model,
        )
    return out, name


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if k == QUICK else pytest.mark.slow) for k in KINDS]
)
@pytest.mark.parametrize("format", EDITS)
def test_a_planted_fault_is_found_where_it_is(
    tiny_bundle: Bundle, tmp_path: Path, format: str, kind: str
) -> None:
    path, name = planted(tiny_bundle, tmp_path / "b", format, kind)
    with Bundle.open(path) as bundle:  # hashes agree
        caught = verify(bundle, formats=[format], precisions=["fp32"]).of(Status.FAIL)
        assert {(c.graph, c.tensor) for c in caught} == {("render", "image")}
        report, _ = bisect(bundle, f"{format}/fp32", graphs=("render",))
    (divergence,) = report.divergences
    assert divergence.graph == "render"
    assert divergence.module == MODULES.get(kind, MODULE)
    assert divergence.missing == (kind == "missing operation")
    if kind == "missing operation":  # a ReLU, which TFLite has inside its convolution
        assert divergence.expected.operator in ("Relu", "CONV_2D")
        assert (
            divergence.found.operator.lower() == "mul"
        )  # the first that takes what was not cut off
    else:
        assert divergence.found.node.startswith(name)


def test_a_fault_is_told_and_written_as_one_operation(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = planted(tiny_bundle, tmp_path / "b", "onnx", "scale")
    out, record = tmp_path / "repro", tmp_path / "b.json"
    arguments = ["bisect", str(path), "--variant", "tflite/fp32", "-g", "render"]
    assert main([*arguments, "-o", str(out), "--json", str(record)]) == 1
    said = capsys.readouterr().out
    assert "DIVERGES render image (golden-0)" in said
    assert f"torch module  {MODULE}" in said
    assert f"Conv {name}" in said  # what is wrong is the reference: both sides are named
    report = json.loads(record.read_text())
    published = json.loads((ROOT / "docs/schemas/bisect-1.json").read_text())
    assert published == bisect_report_schema()
    pytest.importorskip("jsonschema").validate(report, published)
    assert BisectReport.model_validate(report).divergences[0].expected.node == name
    shown = replay(out / "render")
    assert shown.got_psnr_db is not None
    assert shown.op_psnr_db is not None
    assert 20 < shown.got_psnr_db < 60 < 100 < shown.op_psnr_db
    assert MODULE in (out / "render" / "README.md").read_text()


def test_a_sound_variant_is_said_to_be_sound(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bisect", str(tiny_bundle.root), "--variant", "onnx/fp16", "-g", "motion"]) == 0
    assert "onnx/fp16 stays in the noise band of onnx/fp32 (motion;" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variant", "onnx/w9"], "want one of"),
        (["--variant", "onnx/fp16", "-g", "nose"], "want some of appearance, motion, render"),
        (["--variant", "onnx/fp16", "--reference", "onnx/fp16"], "got the same"),
    ],
)
def test_a_wrong_call_is_bad_input(
    arguments: list[str],
    message: str,
    tiny_bundle: Bundle,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bisect", str(tiny_bundle.root), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_repro_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="that bisect wrote"):
        replay(tmp_path)


@pytest.mark.parametrize("format", EDITS)
def test_a_sound_variant_has_no_divergence(tiny_bundle: Bundle, format: str) -> None:
    for precision in ("fp32", "fp16"):
        report, evidence = bisect(tiny_bundle, f"{format}/{precision}")
        assert (report.divergences, evidence) == ((), ())
        assert (report.graphs, report.samples) == (("appearance", "motion", "render"), 6)
        assert report.reference != report.variant
