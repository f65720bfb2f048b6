from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
F = torch.nn.functional

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 4, 7, 6), dtype=np.float32)
POSITIVE = np.abs(X) + 0.1
OTHER = np.abs(RNG.standard_normal((1, 4, 1, 6), dtype=np.float32)) + 0.5
ALPHA = np.linspace(-0.5, 1, 4, dtype=np.float32)

ARITHMETIC = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
COMPARISONS = {
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "equal": torch.eq,
    "not_equal": torch.ne,
}
LOGIC = {
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
UNARY = {
    "abs": torch.abs,
    "atan": torch.atan,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": torch.clone,
    "relu": torch.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}
UNARY_OF_POSITIVE = {
    "log": torch.log,
    "rsqrt": torch.rsqrt,
    "sqrt": torch.sqrt,
    "inverse": lambda x: 1 / (x + 1e-4),
}
UNARY_OF_SMALL = {"acos": torch.acos, "asin": torch.asin, "atanh": torch.atanh}
ACTIVATIONS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "clip": ({"alpha": -0.2, "beta": 0.7}, lambda x: x.clamp(-0.2, 0.7)),
    "threshold": ({"alpha": 0.3}, lambda x: x.clamp(min=0.3)),
    "leaky_relu": ({"alpha": 0.1}, lambda x: F.leaky_relu(x, 0.1)),
    "clamped_relu": ({"alpha": 0.1, "beta": 0.6}, lambda x: F.leaky_relu(x, 0.1).clamp(max=0.6)),
    "thresholded_relu": ({"alpha": 0.4}, lambda x: F.threshold(x, 0.4, 0.0)),
    "elu": ({"alpha": 0.7}, lambda x: F.elu(x, 0.7)),
    "prelu": ({"alpha": ALPHA}, lambda x: F.prelu(x, torch.from_numpy(ALPHA))),
    "gelu": ({}, F.gelu),
    "scaled_tanh": ({"alpha": 1.7, "beta": 0.6}, lambda x: 1.7 * torch.tanh(0.6 * x)),
    "sigmoid_hard": ({"alpha": 1 / 6, "beta": 0.5}, F.hardsigmoid),
    "linear_activation": ({"alpha": 2.0, "beta": 0.1}, lambda x: 2 * x + 0.1),
}


def compare(got: list[Any], want: list[Any], names: Any) -> None:
    for name, ours, theirs in zip(names, got, want, strict=True):
        np.testing.assert_allclose(ours, theirs.float().numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def test_arithmetic_broadcasts_like_torch(run_mil: Callable[..., list[Any]]) -> None:
    got = run_mil(lambda mb, x: [getattr(mb, name)(x=x, y=OTHER) for name in ARITHMETIC], POSITIVE)
    x, y = torch.from_numpy(POSITIVE), torch.from_numpy(OTHER)
    compare(got, [compute(x, y) for compute in ARITHMETIC.values()], ARITHMETIC)


def test_comparisons_and_logic_give_booleans(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        low, high = mb.greater(x=x, y=-0.1), mb.less(x=x, y=0.5)
        bools = [getattr(mb, name)(x=x, y=OTHER) for name in COMPARISONS]
        bools += [getattr(mb, name)(x=low, y=high) for name in LOGIC]
        bools += [mb.logical_not(x=low)]
        return [mb.cast(x=value, dtype="fp32") for value in bools]

    x, y = torch.from_numpy(X), torch.from_numpy(OTHER)
    want = [compute(x, y) for compute in COMPARISONS.values()]
    want += [compute(x > -0.1, x < 0.5) for compute in LOGIC.values()] + [x <= -0.1]
    compare(run_mil(build, X), want, [*COMPARISONS, *LOGIC, "logical_not"])


@pytest.mark.parametrize(
    ("table", "values"),
    [(UNARY, X), (UNARY_OF_POSITIVE, POSITIVE), (UNARY_OF_SMALL, np.tanh(X))],
    ids=["any", "positive", "small"],
)
def test_functions_of_one_value(
    run_mil: Callable[..., list[Any]], table: dict[str, Callable[[Any], Any]], values: Any
) -> None:
    got = run_mil(lambda mb, x: [getattr(mb, name)(x=x) for name in table], values)
    compare(got, [compute(torch.from_numpy(values)) for compute in table.values()], table)


def test_activations_with_parameters(run_mil: Callable[..., list[Any]]) -> None:
    got = run_mil(
        lambda mb, x: [getattr(mb, n)(x=x, **kw) for n, (kw, _) in ACTIVATIONS.items()], X
    )
    compare(got, [compute(torch.from_numpy(X)) for _, compute in ACTIVATIONS.values()], ACTIVATIONS)


def test_gelu_approximations(run_mil: Callable[..., list[Any]]) -> None:
    modes = ["TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]
    got = run_mil(lambda mb, x: [mb.gelu(x=x, mode=mode) for mode in modes], X)
    x = torch.from_numpy(X)
    compare(got, [F.gelu(x, approximate="tanh"), x * torch.sigmoid(1.702 * x)], modes)


def test_select_and_integer_casts(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        chosen = mb.select(cond=mb.greater(x=x, y=0.0), a=x, b=OTHER)
        truncated = mb.cast(x=mb.cast(x=mb.mul(x=x, y=3.0), dtype="int32"), dtype="fp32")
        return [chosen, truncated]

    x = torch.from_numpy(X)
    compare(
        run_mil(build, X),
        [torch.where(x > 0, x, torch.from_numpy(OTHER)), (x * 3).trunc()],
        ["select", "cast"],
    )


def test_every_float16_result_is_rounded(run_mil: Callable[..., list[Any]]) -> None:
    got = run_mil(lambda mb, x: mb.sub(x=mb.add(x=x, y=1000.0), y=1000.0), X, half=True)
    half = torch.from_numpy(X).half()
    want = (half.float() + 1000).half().float() - 1000
    compare(got, [want], ["sub"])
    assert (
        np.abs(got[0] - X).max() > 0.1
    )  # float16 steps by 0.5 near 1000: an unrounded sum would be exact
