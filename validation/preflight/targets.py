"""The targets of a preflight: what runs a file there, in which arithmetic, and which operators it takes.

Lists are those of the target's own public documentation or source, as far as it has any; `EVIDENCE`
says where. They age: a newer version takes more. A list speaks of files of the target's own format
alone, because a converter decides what becomes of another format's operators.
"""

from __future__ import annotations

from dataclasses import dataclass

from pocketportrait.errors import InputError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LITERT_GPU = _names(
    """
    ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM
    DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU
    EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER
    GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGISTIC LSTM
    MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW
    PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH
    TILE TRANSPOSE TRANSPOSE_CONV
    """
)
ORT_NNAPI = _names(
    """
    Abs Add AveragePool Cast Clip Concat Conv DepthToSpace DequantizeLinear Div Elu Exp Flatten
    Floor Gather Gemm GlobalAveragePool GlobalMaxPool Identity Log MatMul Max MaxPool Min Mul
    Neg PRelu Pad Pow QLinearAdd QLinearAveragePool QLinearConv QLinearMatMul QLinearSigmoid
    QuantizeLinear Relu Reshape Resize Sigmoid Sin Slice Softmax Sqrt Squeeze Sub Tanh
    Transpose Unsqueeze
    """
)
# Relu and Clip are taken where they follow a Conv or MaxPool
ORT_XNNPACK = _names(
    """
    AveragePool Clip Conv ConvTranspose Gemm MatMul MaxPool QLinearAveragePool QLinearConv
    QLinearConvTranspose QLinearSoftmax Relu Resize Softmax
    """
)
WEBGPU = _names(
    """
    Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil
    Clip Concat Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Einsum Elu
    Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity If InstanceNormalization
    LayerNormalization LeakyRelu Less LessOrEqual Log MatMul MaxPool Mul Neg Not Pad Pow Range
    Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Shape Sigmoid Sin Sinh Slice Softmax
    Split Sqrt Squeeze Sub Tan Tanh ThresholdedRelu Tile Transpose Unsqueeze Where
    """
)
WEBGPU_SINCE_2026 = frozenset({"Max", "Min", "HardSwish"})  # July 2026; older versions lack them
# Apple publishes no list; these were seen to leave the Neural Engine
COREML_ANE_LEAVES = _names(
    """
    argsort cond crop_resize cumsum gather gather_along_axis gather_nd gru lstm non_maximum_suppression
    non_zero one_hot resample rnn scatter scatter_along_axis scatter_nd sort topk while_loop
    """
)
GPU_COMPATIBILITY = (
    "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/tools/versioning/"
    "gpu_compatibility.cc"
)
EVIDENCE = {
    "litert-gpu": GPU_COMPATIBILITY,
    "ort-nnapi": "https://onnxruntime.ai/docs/execution-providers/NNAPI-ExecutionProvider.html",
    "ort-xnnpack": "https://onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider.html",
    "webgpu": "https://github.com/microsoft/onnxruntime/blob/main/js/web/docs/webgpu-operators.md",
    "coreml-ane": "https://github.com/roboflow/rf-detr/pull/1495",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Who runs a file where."""

    name: str
    format: str  # of the files that it runs
    half: bool  # computes in float16 whatever the file says
    takes: frozenset[str] | None  # operators; None where nobody publishes a list
    leaves: frozenset[str] = frozenset()  # operators that were seen to run elsewhere


TARGETS = {
    target.name: target
    for target in (
        Target("litert-gpu", "tflite", True, LITERT_GPU),
        Target("coreml-ane", "coreml", True, None, COREML_ANE_LEAVES),
        Target("ort-xnnpack", "onnx", False, ORT_XNNPACK),
        Target("ort-nnapi", "onnx", False, ORT_NNAPI),
        Target("webgpu", "onnx", False, WEBGPU),
    )
}


def choose_targets(names: str | None) -> tuple[Target, ...]:
    """Return the targets of a list with commas; all of them for None.

    Raises:
        InputError: a name is not a target's, or none is given.

    """
    if names is None:
        return tuple(TARGETS.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or (unknown := [name for name in wanted if name not in TARGETS]):
        got = ", ".join(unknown) if wanted else "none"
        raise InputError(f"--for: want some of {','.join(TARGETS)}, got {got}")
    return tuple(TARGETS[name] for name in dict.fromkeys(wanted))
