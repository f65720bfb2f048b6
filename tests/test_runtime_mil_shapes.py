from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
F = torch.nn.functional

RNG = np.random.default_rng(2)
X = RNG.standard_normal((1, 4, 7, 6), dtype=np.float32)
INDICES = np.array([2, 0, 3], np.int32)
ALONG = RNG.integers(0, 7, (1, 4, 2, 6)).astype(np.int32)
CELLS = np.array([[0, 1, 2], [0, 3, 6]], np.int32)
AFFINE = RNG.standard_normal((2, 4), dtype=np.float32)

# name -> (program, the same in numpy)
MOVES: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "reshape": (lambda mb, x: mb.reshape(x=x, shape=[2, -1, 6]), lambda x: x.reshape(2, 14, 6)),
    "transpose": (lambda mb, x: mb.transpose(x=x, perm=[0, 2, 3, 1]), lambda x: x.transpose(0, 2, 3, 1)),
    "expand_dims": (lambda mb, x: mb.expand_dims(x=x, axes=[2]), lambda x: x[:, :, None]),
    "squeeze": (lambda mb, x: mb.squeeze(x=x, axes=[0]), lambda x: x[0]),
    "flatten2d": (lambda mb, x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(4, 42)),
    "tile": (lambda mb, x: mb.tile(x=x, reps=[1, 2, 1, 3]), lambda x: np.tile(x, (1, 2, 1, 3))),
    "reverse": (lambda mb, x: mb.reverse(x=x, axes=[2, 3]), lambda x: x[:, :, ::-1, ::-1]),
    "concat": (lambda mb, x: mb.concat(values=(x, x), axis=1), lambda x: np.concatenate([x, x], 1)),
    "concat, interleaved": (
        lambda mb, x: mb.concat(values=(x, x), axis=1, interleave=True),
        lambda x: np.repeat(x, 2, 1),
    ),
    "stack": (lambda mb, x: mb.stack(values=(x, x), axis=2), lambda x: np.stack([x, x], 2)),
    "slice, masks": (
        lambda mb, x: mb.slice_by_index(
            x=x, begin=[0, 1, 2, 3], end=[1, 3, 5, 4], stride=[1, 1, 2, 1],
            begin_mask=[True, False, False, False], end_mask=[False, True, False, False],
            squeeze_mask=[False, False, False, True],
        ),
        lambda x: x[:1, 1:, 2:5:2, 3],
    ),
    "slice, backwards": (
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 0, -1, -2], end=[1, 4, 1, 0], stride=[1, 1, -2, -1]),
        lambda x: x[:, :, -1:1:-2, -2:0:-1],
    ),
    "slice, negative ends": (
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, -3, 0, 0], end=[1, -1, 7, -4]),
        lambda x: x[:, -3:-1, :, :-4],
    ),
    "slice_by_size": (
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 0, 2], size=[1, 2, -1, 3]),
        lambda x: x[:, 1:3, :, 2:5],
    ),
    "pad, constant": (
        lambda mb, x: mb.pad(x=x, pad=[1, 0, 2, 3], mode="constant", constant_val=0.5),
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 3)), constant_values=0.5),
    ),
    "pad, reflect": (
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 3, 0], mode="reflect"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode="reflect"),
    ),
    "pad, replicate": (
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 3, 0], mode="replicate"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode="edge"),
    ),
    "gather": (lambda mb, x: mb.gather(x=x, indices=INDICES, axis=1), lambda x: x[:, INDICES]),
    "gather_along_axis": (
        lambda mb, x: mb.gather_along_axis(x=x, indices=ALONG, axis=2),
        lambda x: np.take_along_axis(x, ALONG.astype(np.int64), 2),
    ),
    "gather_nd": (lambda mb, x: mb.gather_nd(x=x, indices=CELLS), lambda x: x[tuple(CELLS.T)]),
}  # fmt: skip

REDUCTIONS: dict[str, Callable[[Any, Any, bool], Any]] = {
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keep),
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keep),
    "reduce_prod": lambda x, axes, keep: (
        x.prod(axes[1], True).prod(axes[0], True).view(x.sum(axes, keep).shape)
    ),
    "reduce_l1_norm": lambda x, axes, keep: torch.linalg.vector_norm(x, 1, axes, keep),
    "reduce_l2_norm": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "reduce_sum_square": lambda x, axes, keep: (x * x).sum(axes, keep),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keep),
}


def compare(got: list[Any], want: list[Any], names: Any) -> None:
    for name, ours, theirs in zip(names, got, want, strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-6, err_msg=name)


def test_moves_of_values(run_mil: Callable[..., list[Any]]) -> None:
    got = run_mil(lambda mb, x: [build(mb, x) for build, _ in MOVES.values()], X)
    compare(got, [move(X) for _, move in MOVES.values()], MOVES)


def test_splits_by_number_and_by_size(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [*mb.split(x=x, num_splits=2, axis=1), *mb.split(x=x, split_sizes=[1, 4, 2], axis=2)]

    want = [X[:, :2], X[:, 2:], X[:, :, :1], X[:, :, 1:5], X[:, :, 5:]]
    compare(run_mil(build, X), want, ["first", "second", "1", "4", "2"])


def test_made_up_values(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.add(x=mb.fill(shape=[2, 3], value=1.5), y=mb.reduce_max(x=x)),
            mb.fill_like(ref_tensor=x, value=2.0),
        ]

    compare(
        run_mil(build, X),
        [np.full((2, 3), 1.5 + X.max()), np.full_like(X, 2)],
        ["fill", "fill_like"],
    )


@pytest.mark.parametrize("keep", [False, True])
def test_reductions(run_mil: Callable[..., list[Any]], keep: bool) -> None:
    positive = np.abs(X) + 0.1

    def build(mb: Any, x: Any) -> list[Any]:
        return [getattr(mb, name)(x=x, axes=[1, -1], keep_dims=keep) for name in REDUCTIONS]

    want = [reduce(torch.from_numpy(positive), [1, 3], keep) for reduce in REDUCTIONS.values()]
    compare(run_mil(build, positive), want, REDUCTIONS)


def test_reductions_over_everything_and_searches(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.reduce_sum(x=x),
            mb.reduce_argmax(x=x, axis=2),
            mb.reduce_argmin(x=x, axis=-1, keep_dims=True),
            mb.cumsum(x=x, axis=2),
            mb.cumsum(x=x, axis=2, exclusive=True, reverse=True),
            mb.softmax(x=x, axis=1),
        ]

    x = torch.from_numpy(X)
    backwards = x.flip(2).cumsum(2).flip(2) - x
    want = [x.sum(), x.argmax(2), x.argmin(-1, True), x.cumsum(2), backwards, x.softmax(1)]
    names = ["sum", "argmax", "argmin", "cumsum", "cumsum backwards", "softmax"]
    compare(run_mil(build, X), want, names)


def test_norms(run_mil: Callable[..., list[Any]]) -> None:
    gamma, beta = AFFINE[0], AFFINE[1]
    mean, variance = AFFINE[1] * 0.3, np.abs(AFFINE[0]) + 0.5

    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta),
            mb.instance_norm(x=x, gamma=gamma, beta=beta),
            mb.layer_norm(x=x, axes=[1], gamma=gamma, beta=beta, epsilon=1e-3),
            mb.layer_norm(x=x, axes=[2, 3]),
        ]

    x, g, b, m, v = (torch.from_numpy(value) for value in (X, gamma, beta, mean, variance))
    channels_last = F.layer_norm(x.permute(0, 2, 3, 1), (4,), g, b, 1e-3).permute(0, 3, 1, 2)
    want = [
        F.batch_norm(x, m, v, g, b),
        F.instance_norm(x, weight=g, bias=b),
        channels_last,
        F.layer_norm(x, (7, 6)),
    ]
    compare(
        run_mil(build, X), want, ["batch", "instance", "layer over channels", "layer over pixels"]
    )
