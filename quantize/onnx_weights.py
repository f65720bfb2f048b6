"""How an ONNX file holds weights in integers and gives them to layers that compute in float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.quantize.weights import PackedWeight

if TYPE_CHECKING:
    import onnx

Unpacking = tuple["list[onnx.NodeProto]", "list[onnx.TensorProto]"]
UNPACKS = ("Cast", "Sub", "Mul")  # in this order; of a symmetric weight the first and the last


def unpack_eight_bits(name: str, packed: PackedWeight, axis: int) -> Unpacking:
    """Return nodes that make the float weight `name`, and the constants that they take.

    Not DequantizeLinear: ONNX Runtime computes that anew in every pass, and a convolution whose
    weights are no constants leaves the blocked layout. These it folds when a file is loaded
    (docs/decisions/0006).
    """
    from onnx import TensorProto, helper

    made = Constants(name)
    shape = [-1 if k == axis else 1 for k in range(packed.values.ndim)] if packed.scale.ndim else []
    values = made.constant("quantized", packed.values)
    steps = [
        helper.make_node("Cast", [values], [f"{name}_cast"], f"Cast_{name}", to=TensorProto.FLOAT)
    ]
    last = f"{name}_cast"
    if packed.zero_point is not None:
        zero = made.constant("zero_point", packed.zero_point.astype(np.float32).reshape(shape))
        steps.append(helper.make_node("Sub", [last, zero], [f"{name}_shifted"], f"Sub_{name}"))
        last = f"{name}_shifted"
    scale = made.constant("scale", packed.scale.reshape(shape))
    steps.append(helper.make_node("Mul", [last, scale], [name], f"Mul_{name}"))
    return steps, made.tensors


def unpack_four_bits(name: str, packed: PackedWeight, axis: int) -> Unpacking:
    """Return a DequantizeLinear that makes the float weight `name`, and the constants that it takes."""
    import ml_dtypes
    from onnx import helper

    made = Constants(name)
    four = ml_dtypes.int4 if packed.values.dtype == np.int8 else ml_dtypes.uint4
    taken = [
        made.constant("quantized", packed.values.astype(four)),
        made.constant("scale", packed.scale),
    ]
    if packed.zero_point is not None:
        taken.append(made.constant("zero_point", packed.zero_point.astype(four)))
    extra: dict[str, Any] = {"axis": axis} if packed.scale.ndim else {}
    return [
        helper.make_node("DequantizeLinear", taken, [name], f"DQ_{name}", **extra)
    ], made.tensors


class Constants:
    """Constants of one weight, collected under its name."""

    def __init__(self, name: str) -> None:
        """Start with none."""
        self._name = name
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, part: str, value: Array) -> str:
        """Add one; returns its name."""
        from onnx import numpy_helper

        label = f"{self._name}_{part}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), label))
        return label


def stored_weight(
    name: str, maker: dict[str, Any], constants: dict[str, Array]
) -> tuple[Array, Array]:
    """Return the constant that a layer's weight is made of, as stored, and its scales, if any."""
    scales: Array = np.zeros(0, np.float32)
    node = maker.get(name)
    while node is not None and node.op_type in UNPACKS:
        if node.op_type == "Mul":
            scales = constants[node.input[1]].reshape(-1)
        name = node.input[0]
        node = maker.get(name)
    if node is None:
        return constants[name], scales
    return constants[node.input[0]], constants[node.input[1]].reshape(-1)
