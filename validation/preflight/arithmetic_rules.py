"""Rules about numbers: the range of float16, norms over a whole map, an activation that goes wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pocketportrait.validation.preflight.graph import Graph, Node, Value
from pocketportrait.validation.preflight.rule import Hit, Rule, Severity, Subject

ERROR, WARNING = Severity.ERROR, Severity.WARNING
HALF_MAX = 65504.0
HEADROOM = 8.0  # other photos and drivers reach further than the golden ones
LEAST_PIXELS = 256  # of a norm's map: sums of fewer squares keep to float16
ALL = ("litert-gpu", "coreml-ane", "ort-nnapi", "ort-xnnpack", "webgpu")


def _range(subject: Subject) -> Iterator[Hit]:
    if not (subject.target.half or _holds_half(subject.graph)):
        return
    yield from _large_constants(subject.graph)
    for found in subject.ranges:
        if found.largest <= HALF_MAX / HEADROOM:
            continue
        reached = "overflows" if math.isinf(found.largest) else f"reaches {found.largest:.4g}"
        over = found.largest > HALF_MAX
        why = f"{reached} on real inputs ({found.samples}); float16 ends at {HALF_MAX:.0f}"
        yield Hit(found.node, found.operator, why, ERROR if over else WARNING)


def _large_constants(graph: Graph) -> Iterator[Hit]:
    for node in graph.nodes:
        for value in node.inputs:
            numbers = value.numbers
            if numbers is None or numbers.dtype.kind != "f" or not numbers.size:
                continue
            largest = float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0))
            if largest > HALF_MAX:
                why = f"reads a constant of {largest:.4g} ({value.name}); float16 ends at {HALF_MAX:.0f}"
                yield Hit(node.name, node.operator, why, ERROR)


def _holds_half(graph: Graph) -> bool:
    return any(out.dtype == "float16" for node in graph.nodes for out in node.outputs)


def _norms(subject: Subject) -> Iterator[Hit]:
    graph = subject.graph
    for node in graph.nodes:
        if node.kind in ("instance_norm", "group_norm"):
            why = "normalizes over a whole map: in float16 the sum of squares overflows or loses digits"
            yield Hit(node.name, node.operator, why)
        elif node.kind in ("reduce_mean", "reduce_sum", "reduce_square") and _of_squares(
            graph, node
        ):
            why = "adds up squares of a whole map: in float16 they overflow or lose digits"
            yield Hit(node.name, node.operator, why)


def _of_squares(graph: Graph, node: Node) -> bool:
    given = node.inputs[0]
    sizes = [size or 1 for size in given.shape or ()]
    left = [size or 1 for size in (node.outputs[0].shape or ())]
    if math.prod(sizes) < LEAST_PIXELS * max(1, math.prod(left)):
        return False
    if node.kind == "reduce_square":
        return not _scaled_down(graph, given)
    maker = graph.maker(given)
    return maker is not None and _squares(maker) and not _scaled_down(graph, maker.inputs[0])


def _squares(node: Node) -> bool:
    if node.kind == "mul":
        return node.inputs[0].name == node.inputs[1].name
    if node.kind == "pow":
        exponent = node.inputs[1].numbers
        return exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2
    return node.kind == "square"


def _scaled_down(graph: Graph, value: Value) -> bool:
    """Say whether a value was multiplied by one stored number below 1: the rewrite of this rule."""
    maker = graph.maker(value)
    if maker is None or maker.kind != "mul":
        return False
    scales = [v.numbers for v in maker.inputs if v.numbers is not None and v.numbers.size == 1]
    return any(abs(float(scale.reshape(-1)[0])) < 1 for scale in scales)


def _hard_swishes(subject: Subject) -> Iterator[Hit]:
    graph = subject.graph
    for node in graph.nodes:
        given = _hard_swish_input(graph, node)
        if given is not None and _from_linear(graph, given):
            why = "hard-swish right after a 2-D linear map: wrong numbers on the Neural Engine"
            yield Hit(node.name, node.operator, why)


def _hard_swish_input(graph: Graph, node: Node) -> Value | None:
    """Return what a hard-swish is computed of, however it is spelled.

    Whole, as x * hard_sigmoid(x), or as x * clip(x + 3, 0, 6) / 6 with the sixth on either side.
    """
    if node.kind == "hard_swish":
        return node.inputs[0]
    if node.kind != "mul" or len(node.inputs) != 2:
        return None
    for own, other in (node.inputs, node.inputs[::-1]):
        maker = graph.maker(other)
        if maker is not None and maker.kind in ("mul", "div"):  # the sixth
            maker = next((m for v in maker.computed if (m := graph.maker(v))), None)
        if maker is None:
            continue
        if maker.kind == "hard_sigmoid" and maker.inputs[0].name == own.name:
            return own
        three = graph.maker(maker.inputs[0]) if maker.kind in ("clip", "relu6") else None
        if three is not None and three.kind == "add" and own in three.inputs:
            return own
    return None


def _from_linear(graph: Graph, value: Value) -> bool:
    """Say whether a value comes from a linear map, past a bias or the lower end of the activation."""
    maker = graph.maker(value)
    while maker is not None and maker.kind in ("add", "thresholded_relu") and maker.computed:
        if maker.kind == "add" and len(maker.computed) > 1:
            return False
        maker = graph.maker(maker.computed[0])
    return maker is not None and maker.kind == "linear" and maker.outputs[0].rank <= 2


def _half_files(subject: Subject) -> Iterator[Hit]:
    for node in subject.graph.nodes:
        if node.kind != "cast" and any(out.dtype == "float16" for out in node.outputs):
            why = "the file computes in float16, and NNAPI's kernels in ONNX Runtime take float32 alone"
            yield Hit(node.name, node.operator, why)
            return


FP16_RANGE = Rule(
    "fp16-range",
    dict.fromkeys(ALL, ERROR),
    "multiply by a power of two 2^-k before the operation and by 2^k (2^2k for squares) behind it, best"
    " inside the weights of the neighbouring layers: powers of two change no digit",
    ("https://en.wikipedia.org/wiki/Half-precision_floating-point_format", "docs/preflight.md"),
    _range,
)
NORM = Rule(
    "norm-reduction",
    {"litert-gpu": WARNING, "coreml-ane": WARNING, "webgpu": WARNING, "ort-nnapi": ERROR},
    "batch norm in training, folded into the convolution; for weights that exist: scale the centred map"
    " by 2^-k before squaring, and epsilon by 2^-2k",
    (
        "https://github.com/microsoft/onnxruntime/issues/10079",
        "https://github.com/ml-explore/mlx/issues/4228",
        "https://github.com/microsoft/onnxruntime/pull/24514",
    ),
    _norms,
)
HARD_SWISH = Rule(
    "hard-swish-linear",
    {"coreml-ane": ERROR},
    "Reshape [1, C] to [1, C, 1, 1] and use a 1x1 Conv with the same weights; or ReLU in training",
    (
        "https://github.com/apple/coreai-torch/issues/51",
        "https://github.com/apple/coremltools/issues/2625",
    ),
    _hard_swishes,
)
HALF_FILE = Rule(
    "half-file",
    {"ort-nnapi": WARNING},
    "give this target the fp32 variant: NNAPI itself may compute in float16 (NNAPI_FLAG_USE_FP16)",
    (
        "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/providers/nnapi/"
        "nnapi_builtin/builders/impl/base_op_builder.cc",
    ),
    _half_files,
)
RULES = (FP16_RANGE, NORM, HARD_SWISH, HALF_FILE)
