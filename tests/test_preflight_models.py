"""Preflight on whole models: those it must stop, in each format, and ours, which must pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.validation.preflight.check import findings_of, preflight
from pocketportrait.validation.preflight.graph import Graph
from pocketportrait.validation.preflight.reader import read_graph
from pocketportrait.validation.preflight.rule import Severity
from pocketportrait.validation.preflight.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent

# First Order Motion Model, modules/dense_motion.py, keypoint_detector.py and generator.py: deformed
# sources of every keypoint, a heatmap's expectation over a grid, up-blocks that repeat pixels
FOMM = """<ir_version: 10, opset_import: ["" : 20]>
fomm (float[1,3,64,64] source, float[11,64,64,2] sparse_motion, float[1,64,64,2] deformation,
      float[1,10,58,58] heatmap, float[1,1,58,58,2] grid, float[1,16,64,64] features)
=> (float[1,11,3,64,64] deformed, float[1,16,128,128] up, float[1,10,2] keypoints)
{
  ones = Constant<value = int64[2] {1, 2}>()
  six = Unsqueeze(source, ones)
  times = Constant<value = int64[6] {1, 11, 1, 1, 1, 1}>()
  repeated = Tile(six, times)
  flat_shape = Constant<value = int64[4] {11, 3, 64, 64}>()
  flat = Reshape(repeated, flat_shape)
  warped = GridSample<align_corners = 0, mode = "linear", padding_mode = "zeros">(flat, sparse_motion)
  five = Constant<value = int64[5] {1, 11, 3, 64, 64}>()
  deformed = Reshape(warped, five)
  moved = GridSample<align_corners = 0, mode = "linear", padding_mode = "zeros">(features, deformation)
  scales = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()
  up = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
    (moved, , scales)
  last = Constant<value = int64[1] {-1}>()
  weight = Unsqueeze(heatmap, last)
  weighted = Mul(weight, grid)
  plane = Constant<value = int64[2] {2, 3}>()
  keypoints = ReduceSum<keepdims = 0>(weighted, plane)
}
"""
# LivePortrait, src/modules/appearance_feature_extractor.py, warping_network.py, dense_motion.py,
# spade_generator.py and the choice of lip keypoints in utils: a feature volume, convolved and sampled
LIVEPORTRAIT = """<ir_version: 10, opset_import: ["" : 20]>
liveportrait (float[1,512,32,32] map, float[32,32,3,3,3] block3d, float[1,16,64,64,3] deformation,
              float[1,21,3] keypoints, float[1,256,64,64] seg, float[256] gamma, float[256] beta)
=> (float[1,512,64,64] sampled, float[1,4,3] lips, float[1,256,128,128] decoded)
{
  volume_shape = Constant<value = int64[5] {1, 32, 16, 32, 32}>()
  volume = Reshape(map, volume_shape)
  convolved = Conv<pads = [1, 1, 1, 1, 1, 1], kernel_shape = [3, 3, 3]>(volume, block3d)
  active = Relu(convolved)
  warped = GridSample<align_corners = 0, mode = "linear", padding_mode = "zeros">(active, deformation)
  folded = Constant<value = int64[4] {1, 512, 64, 64}>()
  sampled = Reshape(warped, folded)
  which = Constant<value = int64[4] {6, 12, 14, 17}>()
  lips = Gather<axis = 1>(keypoints, which)
  normal = InstanceNormalization<epsilon = 0.00001>(seg, gamma, beta)
  scales = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()
  decoded = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
    (normal, , scales)
}
"""


def parsed(text: str, path: Path) -> Graph:
    import onnx

    onnx.save(onnx.parser.parse_model(text), path)
    return read_graph(path)


def errors(graph: Graph, target: str) -> set[str]:
    return {f.rule for f in findings_of(graph, TARGETS[target]) if f.severity is Severity.ERROR}


def test_what_stops_fomm_is_found(tmp_path: Path) -> None:
    graph = parsed(FOMM, tmp_path / "fomm.onnx")
    for target in ("litert-gpu", "ort-nnapi"):
        assert {"grid-sample", "rank"} <= errors(graph, target)
    assert "grid-sample" in errors(graph, "coreml-ane") & errors(graph, "webgpu")
    found = findings_of(graph, TARGETS["litert-gpu"])
    assert [f.node for f in found if f.rule == "grid-sample"] == ["warped", "moved"]
    assert "resize-nearest" in {f.rule for f in found}
    ranks = {f.node: f.why for f in found if f.rule == "rank"}
    assert "6 axes" in ranks["repeated"]
    assert "5 axes" in ranks["weighted"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_stops_liveportrait_is_found_for_every_target(target: str, tmp_path: Path) -> None:
    graph = parsed(LIVEPORTRAIT, tmp_path / "liveportrait.onnx")
    assert {"conv3d", "grid-sample-3d"} <= errors(graph, target)
    if target != "webgpu":
        assert "gather" in {f.rule for f in findings_of(graph, TARGETS[target])}
    if target != "ort-xnnpack":
        assert "norm-reduction" in {f.rule for f in findings_of(graph, TARGETS[target])}


def tflite_file(
    path: Path, tensors: Sequence[tuple[Sequence[int], int, Array | None]], operators: Any
) -> Path:
    """Write a model: tensors as (shape, type, numbers), operators as (name, inputs, outputs)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph.tensors, graph.operators = [], []
    for number, (shape, kind, numbers) in enumerate(tensors):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{number}".encode(), list(shape), kind
        if -1 in shape:
            tensor.shapeSignature, tensor.shape = list(shape), [abs(n) for n in shape]
        tensor.buffer = 0
        if numbers is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(numbers.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    for name, inputs, outputs in operators:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator.opcodeIndex, operator.inputs, operator.outputs = (
            len(model.operatorCodes),
            inputs,
            outputs,
        )
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [operators[-1][2][0]]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def test_what_a_tflite_file_does_wrong_is_found(tmp_path: Path) -> None:
    float32, int32, int64 = 0, 2, 4
    path = tflite_file(
        tmp_path / "bad.tflite",
        [
            ((1, -1, 8, 4), float32, None),
            ((1, 6, 2), int32, None),
            ((1, 6, 4), float32, None),
            ((1, 6, 2, 2, 1), float32, None),
            ((3,), int64, None),
            ((3,), int64, None),
            ((1, 16, 16, 4), float32, None),
            ((2,), int32, np.array([16, 16], np.int32)),
            ((1,), float32, np.array([1e6], np.float32)),
            ((1, 16, 16, 4), float32, None),
        ],
        [
            ("GATHER_ND", [0, 1], [2]),
            ("RESHAPE", [2], [3]),
            ("ADD", [4, 4], [5]),
            ("RESIZE_NEAREST_NEIGHBOR", [0, 7], [6]),
            ("MUL", [6, 8], [9]),
            ("SEGMENT_SUM", [9, 4], [9]),
        ],
    )
    found = findings_of(read_graph(path), TARGETS["litert-gpu"])
    assert {(f.rule, f.operator) for f in found if f.severity is Severity.ERROR} == {
        ("gather", "GATHER_ND"),
        ("rank", "RESHAPE"),
        ("int64", "ADD"),
        ("dynamic-shape", "input"),
        ("fp16-range", "MUL"),
        ("operator", "SEGMENT_SUM"),
    }
    assert "resize-nearest" in {f.rule for f in found}


def test_an_open_batch_of_tflite_is_a_warning(tmp_path: Path) -> None:
    """MediaPipe's face landmarks are such a file, and run on the GPU as they are."""
    tensors = [((-1, 8, 8, 4), 0, None), ((1, 8, 8, 4), 0, None)]
    path = tflite_file(tmp_path / "batch.tflite", tensors, [("RELU", [0], [1])])
    (found,) = findings_of(read_graph(path), TARGETS["litert-gpu"])
    assert (found.rule, found.severity) == ("dynamic-shape", Severity.WARNING)
    assert "the batch that the file was saved with" in found.why


def test_what_a_core_ml_package_does_wrong_is_found(tmp_path: Path) -> None:
    from pocketportrait.runtime.coreml_package import import_coremltools

    ct = import_coremltools()
    mb = ct.converters.mil.Builder
    specs = [mb.TensorSpec((1, 4, 8, 8)), mb.TensorSpec((1, 8, 8, 2)), mb.TensorSpec((1, 8))]
    weight = np.linspace(-1, 1, 48, dtype=np.float32).reshape(6, 8)

    def network(x: Any, grid: Any, code: Any) -> Any:
        sampled = mb.resample(
            x=x,
            coordinates=grid,
            sampling_mode="bilinear",
            padding_mode="border",
            padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        )
        normal = mb.instance_norm(x=sampled)
        near = mb.upsample_nearest_neighbor(x=normal, scale_factor_height=2, scale_factor_width=2)
        corners = mb.upsample_bilinear(
            x=near, scale_factor_height=2, scale_factor_width=2, align_corners=True
        )
        row = mb.gather(x=corners, indices=np.array([2, 0], np.int32), axis=3)
        low = mb.thresholded_relu(x=mb.linear(x=code, weight=weight), alpha=-3.0)
        swish = mb.mul(x=low, y=mb.sigmoid_hard(x=low, alpha=1 / 6, beta=0.5))
        return row, swish

    version = ct.target.iOS17
    program = mb.program(input_specs=specs, opset_version=version)(network)
    model = ct.convert(
        program,
        minimum_deployment_target=version,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    path = tmp_path / "bad.mlpackage"
    model.save(str(path))
    found = findings_of(read_graph(path), TARGETS["coreml-ane"])
    assert {f.rule: f.operator for f in found} == {
        "grid-sample": "resample",
        "norm-reduction": "instance_norm",
        "resize-nearest": "upsample_nearest_neighbor",
        "resize-convention": "upsample_bilinear",
        "gather": "gather",
        "hard-swish-linear": "mul",
    }


def test_our_student_passes_in_every_format(tiny_bundle: Bundle) -> None:
    report = preflight(tiny_bundle.root)
    assert report.of(Severity.ERROR) == ()
    assert {(f.rule, f.target) for f in report.of(Severity.WARNING)} <= {
        ("young-operator", "webgpu"),
        ("constant-first", "litert-gpu"),
        ("half-file", "ort-nnapi"),
    }
    assert {(look.format, look.target) for look in report.looked} == {
        ("tflite", "litert-gpu"),
        ("coreml", "coreml-ane"),
        *(("onnx", t) for t in ("ort-xnnpack", "ort-nnapi", "webgpu")),
    }
    assert len(report.looked) == 2 * 3 * len(TARGETS)  # precisions and graphs
    assert all(look.own_format and look.samples and look.nodes for look in report.looked)


def test_the_shipped_bundle_passes() -> None:
    report = preflight(ROOT / "pocketportrait/assets/default_bundle")
    assert report.of(Severity.ERROR) == ()
    assert {look.target for look in report.looked} == set(TARGETS)
    assert all(look.samples for look in report.looked)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.onnx", b"no protobuf", "want an ONNX model"),
        ("a.tflite", b"TFL", "without its mark"),
        ("a.tflite", b"\x08\x00\x00\x00TFL3" + b"\xff" * 40, "want a TFLite model"),
    ],
)
def test_a_broken_file_is_bad_input(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_graph(tmp_path / name)
