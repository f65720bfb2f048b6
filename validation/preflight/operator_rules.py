"""Rules that compare a file's operators with what its target takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pocketportrait.validation.preflight.rule import Hit, Rule, Severity, Subject
from pocketportrait.validation.preflight.sampling_rules import GATHERS
from pocketportrait.validation.preflight.targets import EVIDENCE, WEBGPU_SINCE_2026

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
# rules of their own say more of these
ELSEWHERE = {*GATHERS, "grid_sample", "instance_norm", "group_norm"}


def _fallen(subject: Subject) -> Iterator[Hit]:
    target = subject.target
    if subject.graph.format != target.format or target.name == "ort-xnnpack":
        return
    for node in subject.graph.nodes:
        if node.kind in ELSEWHERE and target.name != "webgpu":
            continue
        operator = node.operator
        if target.name == "webgpu" and operator in WEBGPU_SINCE_2026:
            continue
        if operator in target.leaves:
            yield Hit(node.name, operator, f"{operator} was seen to leave the target")
        elif (
            target.takes is not None and operator not in target.takes and node.kind != "grid_sample"
        ):
            why = f"{operator} is not among the operators that the target takes: it runs on the CPU"
            yield Hit(node.name, operator, why)


def _constants_first(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.of_kind("matmul"):
        if len(node.inputs) > 1 and node.inputs[0].fixed and not node.inputs[1].fixed:
            why = (
                "multiplies a constant by what is computed: the GPU delegate takes constants as second"
                " factor alone; it leaves this to the CPU, or refuses the graph, as its version has it"
            )
            yield Hit(node.name, node.operator, why)


def _young(subject: Subject) -> Iterator[Hit]:
    if subject.graph.format != "onnx":
        return
    for node in subject.graph.nodes:
        if node.operator in WEBGPU_SINCE_2026:
            why = f"{node.operator} has a WebGPU kernel since July 2026 only; before, it runs on the CPU"
            yield Hit(node.name, node.operator, why)


def _beside(subject: Subject) -> Iterator[Hit]:
    target = subject.target
    if subject.graph.format != target.format or target.takes is None:
        return
    counts = Counter(n.operator for n in subject.graph.nodes if n.operator not in target.takes)
    if counts:
        total = len(subject.graph.nodes)
        names = ", ".join(f"{name} {count}" for name, count in counts.most_common(6))
        more = ", .." if len(counts) > 6 else ""
        why = (
            f"{sum(counts.values())} of {total} nodes run in ONNX Runtime's own kernels on the same"
            f" processor ({names}{more})"
        )
        yield Hit("", "", why)


OPERATOR = Rule(
    "operator",
    {"litert-gpu": ERROR, "coreml-ane": ERROR, "ort-nnapi": ERROR, "webgpu": ERROR},
    "spell it with operators that the target takes: LeakyRelu as Max(x, a x), HardSwish as"
    " x * Clip(x / 6 + 1/2, 0, 1), ReduceMean over a map as GlobalAveragePool, Split as Slices, Sum as Add,"
    " BatchNormalization as x * scale / sqrt(var + eps) + (bias - mean * scale / sqrt(var + eps))"
    " or inside the Conv before it, ConvTranspose 2x2 of stride 2 as a 1x1 Conv of"
    " 4 x channels and DepthToSpace (CRD)",
    tuple(EVIDENCE.values()),
    _fallen,
)
CONSTANT_FIRST = Rule(
    "constant-first",
    {"litert-gpu": WARNING},
    "M @ x = Transpose(Transpose(x) @ M^T), with the last two axes exchanged",
    (
        "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates/gpu/common/"
        "model_builder.cc",
    ),
    _constants_first,
)
YOUNG_OPERATOR = Rule(
    "young-operator",
    {"webgpu": WARNING},
    "Max(a, b) = b + Relu(a - b), Min(a, b) = a - Relu(a - b);"
    " HardSwish(x) = x * HardSigmoid(x, alpha 1/6, beta 1/2)",
    (
        "https://github.com/microsoft/onnxruntime/pull/29833",
        "https://github.com/microsoft/onnxruntime/issues/29756",
    ),
    _young,
)
BESIDE = Rule(
    "own-kernels",
    {"ort-xnnpack": NOTE},
    "none is needed: measure both providers, and take the faster",
    (EVIDENCE["ort-xnnpack"],),
    _beside,
)
RULES = (OPERATOR, CONSTANT_FIRST, YOUNG_OPERATOR, BESIDE)
