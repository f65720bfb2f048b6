"""A small ONNX network as torch operations, so that a loss can look through it.

ONNX Runtime gives no gradients. Face-recognition networks need few operators; a file with others is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.errors import InputError, MissingToolError

Value = Tensor | None
Operator = Callable[[list[Value], dict[str, Any]], Tensor]


class OnnxNetwork(nn.Module):
    """One input, one output; weights do not learn, gradients flow through."""

    def __init__(self, path: Path) -> None:
        """Read the graph.

        Raises:
            MissingToolError: onnx is not installed.
            InputError: no ONNX file, more than one input, or operators that are not known here.

        """
        super().__init__()
        try:
            import onnx
            from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise MissingToolError.for_extra("onnx", "export") from error
        try:
            graph = onnx.load(str(path)).graph
        except (OSError, DecodeError, onnx.checker.ValidationError) as error:
            raise InputError(f"{path}: want an ONNX file, got: {error}") from error
        unknown = {node.op_type for node in graph.node} - OPERATORS.keys() - {"Constant"}
        if unknown or len(graph.input) != 1:
            raise InputError(
                f"{path}: cannot be differentiated: want one input and only the operators"
                f" {', '.join(sorted(OPERATORS))}, got {len(graph.input)} inputs and"
                f" {', '.join(sorted(unknown)) or 'no others'}; give a TorchScript file instead"
            )
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        self._names: dict[str, str] = {}  # of constants in the graph: of buffers here
        for tensor in graph.initializer:
            self._keep(tensor.name, onnx.numpy_helper.to_array(tensor))
        for node in graph.node:
            facts = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                if "value" not in facts:
                    raise InputError(
                        f"{path}: cannot be differentiated: want constants that are tensors, got"
                        f" {', '.join(facts)}; give a TorchScript file instead"
                    )
                self._keep(node.output[0], onnx.numpy_helper.to_array(facts["value"]))
            else:
                self._nodes.append((node.op_type, list(node.input), node.output[0], facts))

    def _keep(self, name: str, value: Any) -> None:
        self._names[name] = f"constant_{len(self._names)}"
        self.register_buffer(self._names[name], torch.from_numpy(value.copy()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the output for a batch, also where the file was written for a batch of one."""
        values: dict[str, Value] = {n: self.get_buffer(own) for n, own in self._names.items()}
        values |= {"": None, self._input: x_BCHW}
        for operator, inputs, output, facts in self._nodes:
            values[output] = OPERATORS[operator]([values[name] for name in inputs], facts)
        found = values[self._output]
        assert found is not None
        return found


def _conv(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, weight, bias = (*x, None)[:3]
    assert image is not None
    assert weight is not None
    top, left, bottom, right = facts.get("pads", (0, 0, 0, 0))
    if facts.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise InputError("cannot be differentiated: want Conv with explicit pads, got auto_pad")
    strides, dilations = facts.get("strides", (1, 1)), facts.get("dilations", (1, 1))
    image = F.pad(image, (left, right, top, bottom))
    groups = facts.get("group", 1)
    return F.conv2d(image, weight, bias, tuple(strides), 0, tuple(dilations), groups)


def _clip(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, low, high = (*x, None, None)[:3]
    assert image is not None
    low = image.new_tensor(facts["min"]) if "min" in facts else low
    high = image.new_tensor(facts["max"]) if "max" in facts else high
    return image if low is None and high is None else torch.clamp(image, low, high)


def _reshape(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, shape = _both(x)
    return image.reshape(len(image), *shape.tolist()[1:])  # the first is the file's own batch


def _prelu(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, slope = _both(x)
    return torch.where(image > 0, image, image * slope)


def _gemm(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, weight = _both(x)
    weight = weight.T if facts.get("transB", 0) else weight
    product = (image @ weight) * float(facts.get("alpha", 1.0))
    bias = x[2] if len(x) > 2 else None
    return product if bias is None else product + bias * float(facts.get("beta", 1.0))


def _norm(x: list[Value], facts: dict[str, Any]) -> Tensor:
    image, weight, bias, mean, variance = x
    assert image is not None
    return F.batch_norm(image, mean, variance, weight, bias, eps=facts.get("epsilon", 1e-5))


def _both(x: list[Value]) -> tuple[Tensor, Tensor]:
    first, second = x[:2]
    assert first is not None
    assert second is not None
    return first, second


def _first(x: list[Value]) -> Tensor:
    assert x[0] is not None
    return x[0]


OPERATORS: dict[str, Operator] = {
    "Add": lambda x, _: torch.add(*_both(x)),
    "BatchNormalization": _norm,
    "Clip": _clip,
    "Conv": _conv,
    "Flatten": lambda x, _: _first(x).flatten(1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, _: _first(x).mean((2, 3), keepdim=True),
    "Mul": lambda x, _: torch.mul(*_both(x)),
    "PRelu": _prelu,
    "Relu": lambda x, _: F.relu(_first(x)),
    "Reshape": _reshape,
    "Sigmoid": lambda x, _: torch.sigmoid(_first(x)),
    "Sub": lambda x, _: torch.sub(*_both(x)),
}
