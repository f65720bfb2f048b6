"""A graph of the student as a TFLite file: channels last, real names in its signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pocketportrait import atomic
from pocketportrait.contract import GraphSpec
from pocketportrait.errors import ConverterError
from pocketportrait.export.converter import converter
from pocketportrait.export.example import check_module, example_inputs

SIGNATURE = "serving_default"


class ChannelLast(nn.Module):
    """A graph that takes and gives NHWC tensors by name.

    Names of arguments and keys of the result become the names of the file's signature.
    """

    def __init__(self, network: nn.Module, spec: GraphSpec) -> None:
        """Wrap a graph that takes NCHW tensors in the order of its contract."""
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        feed = [
            tensors[t.name].permute(0, 3, 1, 2) if t.layout == "NCHW" else tensors[t.name]
            for t in self.spec.inputs
        ]
        result = self.network(*feed)
        outputs = result if isinstance(result, tuple) else (result,)
        return {
            t.name: value.permute(0, 2, 3, 1) if t.layout == "NCHW" else value
            for t, value in zip(self.spec.outputs, outputs, strict=True)
        }


def to_tflite(module: nn.Module, spec: GraphSpec, path: Path, *, precision: str = "fp32") -> Path:
    """Write `module` with NHWC images and features, named as in its contract.

    Args:
        module: a graph of the student, in eval mode.
        spec: its contract.
        path: file to write or replace.
        precision: `fp32`, or `fp16`: weights stored as float16, arithmetic left to the device.

    Raises:
        InputError: the module is in training mode, or the precision is unknown.
        MissingToolError: the `export` extra is not installed.
        ConverterError: the converter failed, or wrote another file than asked for.

    """
    check_module(module, precision)
    with converter("litert-torch"):
        import litert_torch  # takes seconds to import

        wrapped = ChannelLast(module, spec).eval()
        examples = example_inputs(spec, channels_last=True)
        named = {t.name: value for t, value in zip(spec.inputs, examples, strict=True)}
        content = bytes(litert_torch.convert(wrapped, sample_kwargs=named).model_content())
    if precision == "fp16":
        content = _halve(content)
    write_checked(content, spec, path)
    return path


def halve_tflite(source: Path, spec: GraphSpec, path: Path) -> Path:
    """Write the `fp16` form of an `fp32` file: the same bytes as `to_tflite` would, sooner.

    Raises:
        MissingToolError: the `export` extra is not installed.
        ConverterError: the conversion failed.

    """
    write_checked(_halve(source.read_bytes()), spec, path)
    return path


def _halve(content: bytes) -> bytes:
    with converter("ai-edge-quantizer"):
        from ai_edge_quantizer import qtyping, quantizer

        weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        halver = quantizer.Quantizer(bytearray(content))
        halver.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key="float_casting",
            op_config=config,
        )
        return bytes(halver.quantize().quantized_model)


def write_checked(content: bytes, spec: GraphSpec, path: Path) -> None:
    """Write a file whose signature was compared with the contract.

    Raises:
        ConverterError: names, shapes or types are not the contract's.

    """
    with converter("ai-edge-litert"):
        _check_read_back(content, spec)
    atomic.write_bytes(path, content)


def _check_read_back(content: bytes, spec: GraphSpec) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(SIGNATURE)
    for side in ("inputs", "outputs"):
        details: dict[str, Any] = getattr(runner, f"get_{side.removesuffix('s')}_details")()
        want = {t.name: (t.nhwc().shape, "float32") for t in getattr(spec, side)}
        got = {
            name: (tuple(map(int, d["shape"])), d["dtype"].__name__) for name, d in details.items()
        }
        if want != got:
            raise ConverterError(f"{spec.name}: want {side} {want}, got {got}")
