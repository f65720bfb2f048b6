from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
F = torch.nn.functional

RNG = np.random.default_rng(1)


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape, dtype=np.float32)


X = numbers(1, 4, 7, 6)
WEIGHT, BIAS = numbers(6, 4, 3, 3), numbers(6)
GROUPED = numbers(8, 2, 3, 3)
UP, UP_BIAS = numbers(4, 5, 3, 3), numbers(5)  # inputs, outputs
MATRIX, TALL = numbers(6, 5), numbers(4, 2)
T = torch.from_numpy

# name -> arguments of mb.conv, the same in torch
CONVOLUTIONS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "valid": ({"weight": WEIGHT, "bias": BIAS}, lambda x: F.conv2d(x, T(WEIGHT), T(BIAS))),
    "custom, uneven": (
        {"weight": WEIGHT, "pad_type": "custom", "pad": [0, 1, 2, 0], "strides": [2, 1]},
        lambda x: F.conv2d(F.pad(x, (2, 0, 0, 1)), T(WEIGHT), stride=(2, 1)),
    ),
    # 7 rows -> 4 take one row on each side, 6 columns -> 3 one column, after or before
    "same": (
        {"weight": WEIGHT, "pad_type": "same", "strides": [2, 2]},
        lambda x: F.conv2d(F.pad(x, (0, 1, 1, 1)), T(WEIGHT), stride=2),
    ),
    "same_lower": (
        {"weight": WEIGHT, "pad_type": "same_lower", "strides": [2, 2]},
        lambda x: F.conv2d(F.pad(x, (1, 0, 1, 1)), T(WEIGHT), stride=2),
    ),
    "groups, dilated": (
        {"weight": GROUPED, "groups": 2, "dilations": [2, 1]},
        lambda x: F.conv2d(x, T(GROUPED), groups=2, dilation=(2, 1)),
    ),
}
TRANSPOSED: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "valid": ({"bias": UP_BIAS}, lambda x: F.conv_transpose2d(x, T(UP), T(UP_BIAS), 2)),
    "custom": (
        {"pad_type": "custom", "pad": [1, 1, 1, 1]},
        lambda x: F.conv_transpose2d(x, T(UP), None, 2, 1),
    ),
    "same": ({"pad_type": "same"}, lambda x: F.conv_transpose2d(x, T(UP), None, 2)[:, :, :14, :12]),
    "output_shape": (
        {
            "bias": UP_BIAS,
            "pad_type": "custom",
            "pad": [1, 1, 1, 1],
            "output_shape": [1, 5, 14, 12],
        },
        lambda x: F.conv_transpose2d(x, T(UP), T(UP_BIAS), 2, 1, 1),
    ),
}
POOLS: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "max": (
        "max_pool",
        {"kernel_sizes": [3, 2], "pad_type": "custom", "pad": [1, 1, 0, 1]},
        lambda x: F.max_pool2d(F.pad(x, (0, 1, 1, 1), value=-torch.inf), (3, 2), 2),
    ),
    "max, ceil": (
        "max_pool",
        {"kernel_sizes": [2, 2], "pad_type": "valid", "ceil_mode": True},
        lambda x: F.max_pool2d(x, 2, 2, ceil_mode=True),
    ),
    "average": (
        "avg_pool",
        {"kernel_sizes": [3, 3], "pad_type": "custom", "pad": [1, 1, 1, 1]},
        lambda x: F.avg_pool2d(x, 3, 2, 1),
    ),
    "average inside only": (
        "avg_pool",
        {"kernel_sizes": [3, 3], "pad_type": "same", "exclude_padding_from_average": True},
        lambda x: (
            F.avg_pool2d(F.pad(x, (0, 1, 1, 1)), 3, 2)
            / F.avg_pool2d(F.pad(torch.ones_like(x), (0, 1, 1, 1)), 3, 2)
        ),
    ),
    "average, ceil": (
        "avg_pool",
        {"kernel_sizes": [3, 3], "pad_type": "custom", "pad": [1, 1, 1, 1], "ceil_mode": True},
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
}


def compare(got: list[Any], want: list[Any], names: Any) -> None:
    for name, ours, theirs in zip(names, got, want, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)


def test_convolutions_with_every_padding(run_mil: Callable[..., list[Any]]) -> None:
    got = run_mil(lambda mb, x: [mb.conv(x=x, **kw) for kw, _ in CONVOLUTIONS.values()], X)
    compare(got, [compute(T(X)) for _, compute in CONVOLUTIONS.values()], CONVOLUTIONS)


def test_convolution_of_one_axis(run_mil: Callable[..., list[Any]]) -> None:
    line, weight = numbers(1, 4, 9), WEIGHT[..., 0]
    got = run_mil(lambda mb, x: mb.conv(x=x, weight=weight, pad_type="custom", pad=[1, 0]), line)
    compare(got, [F.conv1d(F.pad(T(line), (1, 0)), T(weight))], ["conv 1-D"])


def test_transposed_convolutions(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.conv_transpose(x=x, weight=UP, strides=[2, 2], **kw) for kw, _ in TRANSPOSED.values()
        ]

    compare(run_mil(build, X), [compute(T(X)) for _, compute in TRANSPOSED.values()], TRANSPOSED)


def test_pools(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [getattr(mb, kind)(x=x, strides=[2, 2], **kw) for kind, kw, _ in POOLS.values()]

    compare(run_mil(build, X), [compute(T(X)) for *_, compute in POOLS.values()], POOLS)


def test_products_of_matrices(run_mil: Callable[..., list[Any]]) -> None:
    a, b = numbers(3, 4, 5), numbers(3, 6, 5)

    def build(mb: Any, a: Any, b: Any) -> list[Any]:
        return [
            mb.linear(x=a, weight=MATRIX, bias=BIAS),
            mb.matmul(x=a, y=b, transpose_y=True),
            mb.matmul(x=a, y=TALL, transpose_x=True),
        ]

    want = [F.linear(T(a), T(MATRIX), T(BIAS)), T(a) @ T(b).mT, T(a).mT @ T(TALL)]
    compare(run_mil(build, a, b), want, ["linear", "matmul y", "matmul x"])


def test_einsum(run_mil: Callable[..., list[Any]]) -> None:
    a, b = numbers(1, 3, 4, 5), numbers(1, 5, 4, 6)
    equation = "nchw,nwhu->nchu"
    got = run_mil(lambda mb, a, b: mb.einsum(values=(a, b), equation=equation), a, b)
    compare(got, [torch.einsum(equation, T(a), T(b))], ["einsum"])
