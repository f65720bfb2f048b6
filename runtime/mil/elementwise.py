"""Operations that treat every value alone: arithmetic, comparisons, activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.runtime.mil.call import Call, Kernel

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.true_divide,
    "floor_div": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "mod": torch.remainder,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "cast": lambda x: x,  # the declared type of the result does the work
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": lambda x: x,
    "logical_not": torch.logical_not,
    "relu": F.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}


def _binary(compute: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    return lambda call: compute(call.tensor("x"), call.tensor("y"))


def _unary(compute: Callable[[Tensor], Tensor]) -> Kernel:
    return lambda call: compute(call.tensor("x"))


def _rsqrt(call: Call) -> Tensor:
    return torch.rsqrt(call.tensor("x") + call.number("epsilon"))


def _inverse(call: Call) -> Tensor:
    return 1 / (call.tensor("x") + call.number("epsilon"))


def _log(call: Call) -> Tensor:
    return torch.log(call.tensor("x") + call.number("epsilon"))


def _clip(call: Call) -> Tensor:
    return torch.clamp(call.tensor("x"), call.number("alpha"), call.number("beta"))


def _threshold(call: Call) -> Tensor:
    return torch.clamp(call.tensor("x"), min=call.number("alpha"))


def _leaky_relu(call: Call) -> Tensor:
    return F.leaky_relu(call.tensor("x"), call.number("alpha"))


def _clamped_relu(call: Call) -> Tensor:
    return torch.clamp(_leaky_relu(call), max=call.number("beta"))


def _thresholded_relu(call: Call) -> Tensor:
    x = call.tensor("x")
    return torch.where(x >= call.number("alpha"), x, torch.zeros(()))


def _elu(call: Call) -> Tensor:
    return F.elu(call.tensor("x"), call.number("alpha"))


def _prelu(call: Call) -> Tensor:
    return F.prelu(call.tensor("x"), call.tensor("alpha"))


def _gelu(call: Call) -> Tensor:
    x, mode = call.tensor("x"), call.text("mode")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _scaled_tanh(call: Call) -> Tensor:
    return call.number("alpha") * torch.tanh(call.number("beta") * call.tensor("x"))


def _sigmoid_hard(call: Call) -> Tensor:
    return torch.clamp(_linear_activation(call), 0, 1)


def _linear_activation(call: Call) -> Tensor:
    return call.number("alpha") * call.tensor("x") + call.number("beta")


def _select(call: Call) -> Tensor:
    return torch.where(call.tensor("cond").bool(), call.tensor("a"), call.tensor("b"))


KERNELS: dict[str, Kernel] = {
    **{name: _binary(compute) for name, compute in BINARY.items()},
    **{name: _unary(compute) for name, compute in UNARY.items()},
    "rsqrt": _rsqrt,
    "inverse": _inverse,
    "log": _log,
    "clip": _clip,
    "threshold": _threshold,
    "leaky_relu": _leaky_relu,
    "clamped_relu": _clamped_relu,
    "thresholded_relu": _thresholded_relu,
    "elu": _elu,
    "prelu": _prelu,
    "gelu": _gelu,
    "scaled_tanh": _scaled_tanh,
    "sigmoid_hard": _sigmoid_hard,
    "linear_activation": _linear_activation,
    "select": _select,
}
