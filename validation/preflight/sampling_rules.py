"""Rules about reading a map at computed places: gathers, grid samples, resizes."""

from __future__ import annotations

from collections.abc import Iterator

from pocketportrait.validation.preflight.graph import Node
from pocketportrait.validation.preflight.rule import Hit, Rule, Severity, Subject
from pocketportrait.validation.preflight.targets import GPU_COMPATIBILITY

ERROR, WARNING = Severity.ERROR, Severity.WARNING
OURS = "docs/decisions/0002-row-column-warp.md"
MEASURED = "docs/preflight.md"
GATHERS = ("gather", "gather_nd", "gather_elements", "scatter", "embedding_lookup")


def _gathers(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind(*GATHERS):
        constant = len(node.inputs) > 1 and _indices(node)
        if constant and node.kind == "gather":
            why = "reads at fixed places, which a slice or a constant matrix does without a gather"
            yield Hit(node.name, node.operator, why, WARNING)
        else:
            why = "reads or writes at computed places: the graph is cut in two here"
            yield Hit(node.name, node.operator, why)


def _indices(node: Node) -> bool:
    """Say whether every integer input is stored: those are the places to read at."""
    integers = [v for v in node.inputs if v.dtype.startswith(("int", "uint"))]
    return bool(integers) and all(value.fixed for value in integers)


def _flat_samples(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind("grid_sample"):
        if node.inputs[0].rank != 5:
            why = "samples at computed places: no kernel there, so its input and result are copied out"
            yield Hit(node.name, node.operator, why)


def _volume_samples(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind("grid_sample"):
        if node.inputs[0].rank == 5:
            why = "samples a volume: no mobile target has a kernel, and most converters refuse it"
            yield Hit(node.name, node.operator, why)


def _conventions(subject: Subject) -> Iterator[Hit]:
    kinds = ("resize_linear", "resize_cubic")
    for node in subject.graph.of_kind(*kinds):
        convention = node.attributes.get("convention")
        if node.kind == "resize_cubic":
            yield Hit(
                node.name, node.operator, "cubic resize has no kernel on mobile targets", ERROR
            )
        elif convention != "half_pixel":
            why = (
                f"resizes with the convention {convention}: formats disagree about it by up to half a"
                " pixel, and some targets have no such kernel"
            )
            yield Hit(node.name, node.operator, why)


def _nearest(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind("resize_nearest"):
        why = "nearest resize: rounding of .5 differs between engines, and XNNPACK takes only bilinear"
        yield Hit(node.name, node.operator, why)


GATHER = Rule(
    "gather",
    {"litert-gpu": ERROR, "coreml-ane": ERROR, "ort-nnapi": ERROR, "ort-xnnpack": WARNING},
    "fixed places: Slice for a run, else MatMul with a constant 0/1 matrix; computed places that move"
    " along one axis: a tent matrix relu(1 - |(source - place) - shift|) and one MatMul per axis",
    (GPU_COMPATIBILITY, "https://github.com/roboflow/rf-detr/pull/1495", OURS),
    _gathers,
)
GRID_SAMPLE = Rule(
    "grid-sample",
    {
        "litert-gpu": ERROR,
        "coreml-ane": ERROR,
        "ort-nnapi": ERROR,
        "webgpu": ERROR,
        "ort-xnnpack": WARNING,
    },
    "predict one displacement field per axis and warp with two MatMuls: along x with"
    " relu(1 - |(xs - xd) - dx|), then along y; exact where each of two samples moves along one axis",
    (
        "https://github.com/apple/coremltools/issues/1875",
        "https://github.com/apple/coremltools/issues/2299",
        "https://github.com/microsoft/onnxruntime/issues/27085",
        OURS,
    ),
    _flat_samples,
)
GRID_SAMPLE_3D = Rule(
    "grid-sample-3d",
    {
        "litert-gpu": ERROR,
        "coreml-ane": ERROR,
        "ort-nnapi": ERROR,
        "webgpu": ERROR,
        "ort-xnnpack": ERROR,
    },
    "fold depth into channels, sample [1, C*D, H, W] in 2-D, weigh the D planes with"
    " relu(1 - |plane - z|) and add them up; then see grid-sample",
    (
        "https://github.com/apple/coremltools/issues/2284",
        "https://onnx.ai/onnx/operators/onnx__GridSample.html",
    ),
    _volume_samples,
)
RESIZE_CONVENTION = Rule(
    "resize-convention",
    {
        "litert-gpu": WARNING,
        "coreml-ane": WARNING,
        "ort-nnapi": WARNING,
        "ort-xnnpack": WARNING,
        "webgpu": WARNING,
    },
    "half_pixel bilinear where the network can be trained with it; else two MatMuls with the constant"
    " matrices of the resize as second factors: Transpose(Transpose(x @ columns^T) @ rows^T)",
    (
        "https://github.com/microsoft/onnxruntime/blob/main/js/web/docs/webgpu-operators.md",
        "https://onnx.ai/onnx/operators/onnx__Resize.html",
    ),
    _conventions,
)
RESIZE_NEAREST = Rule(
    "resize-nearest",
    {
        "litert-gpu": WARNING,
        "coreml-ane": WARNING,
        "ort-xnnpack": WARNING,
        "ort-nnapi": WARNING,
        "webgpu": WARNING,
    },
    "x2: Concat of the map four times along channels, then DepthToSpace; or bilinear x2 in training",
    (MEASURED, "https://onnx.ai/onnx/operators/onnx__Resize.html"),
    _nearest,
)
RULES = (GATHER, GRID_SAMPLE, GRID_SAMPLE_3D, RESIZE_CONVENTION, RESIZE_NEAREST)
