"""Convolutions, products of matrices and pools."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.runtime.mil.call import Call, Kernel, last_axes_padding

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _padding(
    call: Call, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    """Return (before, after) for every spatial axis."""
    axes = len(kernel)
    kind = call.text("pad_type").lower()
    if kind == "valid":
        return [0] * 2 * axes
    if kind == "custom":
        return call.integers("pad")
    if kind not in ("same", "same_lower"):
        raise call.refuse(f"pad_type {kind!r}")
    pads: list[int] = []
    for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small = total // 2
        pads += [small, total - small] if kind == "same" else [total - small, small]
    return pads


def _conv(call: Call) -> Tensor:
    x, weight = call.tensor("x"), call.tensor("weight")
    strides, dilations = call.integers("strides"), call.integers("dilations")
    pads = _padding(call, x, list(weight.shape[2:]), strides, dilations)
    if any(pads):
        x = F.pad(x, last_axes_padding(pads))
    run = CONVOLUTIONS[x.dim() - 2]
    return run(
        x, weight, call.optional_tensor("bias"), strides, 0, dilations, call.integer("groups")
    )


def _conv_transpose(call: Call) -> Tensor:
    x, weight = call.tensor("x"), call.tensor("weight")
    axes = x.dim() - 2
    strides, dilations = call.integers("strides"), call.integers("dilations")
    y = TRANSPOSED[axes](x, weight, None, strides, 0, 0, call.integer("groups"), dilations)
    custom = call.text("pad_type").lower() == "custom"
    pads = call.integers("pad") if custom else None
    for i, (axis, want) in enumerate(zip(range(2, y.dim()), call.shape[2:], strict=True)):
        begin = pads[2 * i] if pads else max(y.shape[axis] - want, 0) // 2
        short = begin + want - y.shape[axis]
        if short > 0:  # beyond the last window there is nothing but the bias
            y = F.pad(y, [0, 0] * (y.dim() - 1 - axis) + [0, short])
        y = y.narrow(axis, begin, want)
    bias = call.optional_tensor("bias")
    return y if bias is None else y + bias.view(1, -1, *[1] * axes)


def _linear(call: Call) -> Tensor:
    return F.linear(call.tensor("x"), call.tensor("weight"), call.optional_tensor("bias"))


def _matmul(call: Call) -> Tensor:
    x, y = call.tensor("x"), call.tensor("y")
    if call.flag("transpose_x"):
        x = x.transpose(-1, -2)
    if call.flag("transpose_y"):
        y = y.transpose(-1, -2)
    return x @ y


def _einsum(call: Call) -> Tensor:
    return torch.einsum(call.text("equation"), *call.tensors("values"))


def _max_pool(call: Call) -> Tensor:
    x, kernel, strides = call.tensor("x"), call.integers("kernel_sizes"), call.integers("strides")
    ceil = call.flag("ceil_mode")
    pads = _padding(call, x, kernel, strides, [1] * len(kernel))
    padded = F.pad(x, last_axes_padding(pads), value=float("-inf")) if any(pads) else x
    return MAX_POOLS[len(kernel)](padded, kernel, strides, ceil_mode=ceil)


def _avg_pool(call: Call) -> Tensor:
    x, kernel, strides = call.tensor("x"), call.integers("kernel_sizes"), call.integers("strides")
    inside_only = call.flag("exclude_padding_from_average")
    pads = _padding(call, x, kernel, strides, [1] * len(kernel))
    pool = AVERAGE_POOLS[len(kernel)]
    if call.flag("ceil_mode"):  # MIL allows it with symmetric padding alone, which is torch's own
        return pool(x, kernel, strides, pads[::2], True, not inside_only)
    total = pool(F.pad(x, last_axes_padding(pads)), kernel, strides)
    if not inside_only or not any(pads):
        return total
    return total / pool(F.pad(torch.ones_like(x), last_axes_padding(pads)), kernel, strides)


KERNELS: dict[str, Kernel] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
}
