"""Rules about what tensors look like: axes, sizes that are not fixed, 64-bit integers."""

from __future__ import annotations

from collections.abc import Iterator

from pocketportrait.validation.preflight.rule import Hit, Rule, Severity, Subject
from pocketportrait.validation.preflight.targets import GPU_COMPATIBILITY

ERROR, WARNING = Severity.ERROR, Severity.WARNING
MOST_AXES = 4
ARITHMETIC = {"add", "sub", "mul", "div", "mod", "floor_div", "floor_mod", "pow", "cumsum", "range"}
VOLUMES = {"conv", "conv_transpose"}
NNAPI = "https://developer.android.com/ndk/reference/group/neural-networks"
ANE = "https://machinelearning.apple.com/research/neural-engine-transformers"


def _axes(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.nodes:
        if node.kind in VOLUMES or node.kind == "grid_sample":
            continue  # rules of their own
        most = max((v.rank for v in (*node.computed, *node.outputs)), default=0)
        if most > MOST_AXES:
            yield Hit(node.name, node.operator, f"a tensor with {most} axes; kernels take up to 4")


def _volumes(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind(*VOLUMES):
        if max((v.rank for v in node.inputs), default=0) == 5:
            yield Hit(node.name, node.operator, "convolves a volume: kernels are two-dimensional")


def _dynamic(subject: Subject) -> Iterator[Hit]:
    graph = subject.graph
    given = [value for value in graph.inputs if value.is_dynamic]
    for value in given:
        sizes = ["?" if size is None else str(size) for size in value.shape or ()]
        shape = (
            f"[{', '.join(sizes)}]" if value.shape is not None else "of an unknown number of axes"
        )
        why = f"input {shape}: the target prepares its kernels for fixed sizes"
        severity = None  # the rule's own
        free = [axis for axis, size in enumerate(value.shape or (None,)) if size is None]
        if graph.format == "tflite" and free == [0]:
            why += "; it is given the batch that the file was saved with, unless a program asks for another"
            severity = Severity.WARNING
        yield Hit(value.name, "input", why, severity)
    if given:
        return  # what follows from inputs is no news
    for node in graph.nodes:
        if node.kind not in ("if", "loop", "cond", "while_loop") and any(
            out.shape is not None and None in out.shape for out in node.outputs
        ):
            yield Hit(node.name, node.operator, "its result has a size that depends on values")
            return  # everything after it has too


def _int64(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.nodes:
        if node.kind in ARITHMETIC and any(v.dtype == "int64" for v in node.outputs):
            why = "computes with 64-bit integers, which the target has no kernels for"
            yield Hit(node.name, node.operator, why)


RANK = Rule(
    "rank",
    {
        "litert-gpu": ERROR,
        "ort-nnapi": ERROR,
        "coreml-ane": WARNING,
        "ort-xnnpack": WARNING,
        "webgpu": WARNING,
    },
    "move one axis at a time with the others folded: a pixel shuffle of [1, C*4, H, W] is"
    " [C*2, 2, H, W] -> Transpose(0,2,3,1), then [C, 2, H, 2W] -> Transpose(0,2,1,3)",
    (GPU_COMPATIBILITY, NNAPI, ANE),
    _axes,
)
CONV3D = Rule(
    "conv3d",
    dict.fromkeys(("litert-gpu", "coreml-ane", "ort-nnapi", "ort-xnnpack", "webgpu"), ERROR),
    "fold depth into channels: one Conv2d of [1, C*D, H, W] whose weights [Co*D, C*D, kh, kw] hold the"
    " depth taps as a banded block matrix",
    (
        "https://onnxruntime.ai/docs/execution-providers/NNAPI-ExecutionProvider.html",
        "https://github.com/microsoft/onnxruntime/blob/main/js/web/docs/webgpu-operators.md",
        GPU_COMPATIBILITY,
    ),
    _volumes,
)
DYNAMIC_SHAPE = Rule(
    "dynamic-shape",
    {
        "litert-gpu": ERROR,
        "coreml-ane": ERROR,
        "ort-nnapi": ERROR,
        "ort-xnnpack": ERROR,
        "webgpu": WARNING,
    },
    "fix every size at export, batch 1; one file a size where several are wanted",
    (
        "https://github.com/apple/coremltools/issues/1764",
        "https://onnxruntime.ai/docs/tutorials/mobile/helpers/make-dynamic-shape-fixed.html",
    ),
    _dynamic,
)
INT64 = Rule(
    "int64",
    {"litert-gpu": ERROR, "ort-nnapi": ERROR, "webgpu": WARNING, "ort-xnnpack": WARNING},
    "compute shapes at export, so that they are constants; where integers are data, Cast to int32,"
    " compute, and Cast back only at an output that must be int64",
    (
        "https://github.com/microsoft/onnxruntime/pull/17128",
        "https://github.com/microsoft/onnxruntime/issues/25236",
        GPU_COMPATIBILITY,
    ),
    _int64,
)
RULES = (RANK, CONV3D, DYNAMIC_SHAPE, INT64)
