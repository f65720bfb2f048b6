"""Operations that sum or search along axes: reductions, softmax, norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.runtime.mil.call import Call, Kernel

Reduce: TypeAlias = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


REDUCTIONS: dict[str, Reduce] = {
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keep),
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keep),
    "reduce_prod": _product,
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keep),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keep),
}


def _reduction(reduce: Reduce) -> Kernel:
    def run(call: Call) -> Tensor:
        x = call.tensor("x")
        axes = call.integers("axes") if call.has("axes") else list(range(x.dim()))
        return reduce(x, axes, call.flag("keep_dims"))

    return run


def _arg_max(call: Call) -> Tensor:
    return call.tensor("x").argmax(call.integer("axis"), call.flag("keep_dims"))


def _arg_min(call: Call) -> Tensor:
    return call.tensor("x").argmin(call.integer("axis"), call.flag("keep_dims"))


def _cumsum(call: Call) -> Tensor:
    x, axis = call.tensor("x"), call.integer("axis")
    if call.flag("reverse"):
        x = x.flip(axis)
    total = x.cumsum(axis)
    if call.flag("exclusive"):
        total = total - x
    return total.flip(axis) if call.flag("reverse") else total


def _softmax(call: Call) -> Tensor:
    return torch.softmax(call.tensor("x"), call.integer("axis"))


def _instance_norm(call: Call) -> Tensor:
    gamma, beta = call.optional_tensor("gamma"), call.optional_tensor("beta")
    return F.instance_norm(call.tensor("x"), weight=gamma, bias=beta, eps=call.number("epsilon"))


def _batch_norm(call: Call) -> Tensor:
    gamma, beta = call.optional_tensor("gamma"), call.optional_tensor("beta")
    x, mean, variance = call.tensor("x"), call.tensor("mean"), call.tensor("variance")
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=call.number("epsilon"))


def _layer_norm(call: Call) -> Tensor:
    x = call.tensor("x")
    axes = call.integers("axes") if call.has("axes") else list(range(x.dim()))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    y = (x - mean) * torch.rsqrt(variance + call.number("epsilon"))
    normed = {axis % x.dim() for axis in axes}
    affine = [size if axis in normed else 1 for axis, size in enumerate(x.shape)]
    gamma, beta = call.optional_tensor("gamma"), call.optional_tensor("beta")
    if gamma is not None:
        y = y * gamma.reshape(affine)
    return y if beta is None else y + beta.reshape(affine)


KERNELS: dict[str, Kernel] = {
    **{name: _reduction(reduce) for name, reduce in REDUCTIONS.items()},
    "reduce_argmax": _arg_max,
    "reduce_argmin": _arg_min,
    "cumsum": _cumsum,
    "softmax": _softmax,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
}
