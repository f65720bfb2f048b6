"""A bad graph and its rewrite for every rule of preflight, which give equal numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.validation.preflight.rule import Severity
from tests.preflight_net import Case, Net, floats, ints


def case_gather_of_one() -> Case:
    def good(net: Net) -> str:
        return net.Squeeze(net.Slice("x", ints(3), ints(4), ints(1)), ints(1))

    return Case(
        "litert-gpu",
        Severity.WARNING,
        lambda net: net.Gather("x", np.array(3, np.int64), axis=1),
        good,
        {"x": (1, 4, 5, 5)},
    )


def case_gather_of_many() -> Case:
    order = ints(2, 0, 1, 4, 3)
    chosen = np.zeros((5, 5), np.float32)
    chosen[order, np.arange(5)] = 1
    return Case(
        "coreml-ane",
        Severity.WARNING,
        lambda net: net.Gather("x", order, axis=3),
        lambda net: net.MatMul("x", chosen),
        {"x": (1, 4, 5, 5)},
    )


def case_gather_of_computed_places() -> Case:
    """Places that move along rows: integers here, so that gathering them is exact."""
    side = 5
    offset = np.subtract.outer(np.arange(side), np.arange(side)).astype(np.float32)
    columns = np.arange(side, dtype=np.float32).reshape(1, 1, side)

    def shift(net: Net) -> str:
        whole = net.Round("dx")
        return net.Max(net.Min(whole, (side - 1) - columns), -columns)

    def bad(net: Net) -> str:
        place = net.Cast(net.Add(shift(net), columns), to=7)
        wide = net.Expand(net.Unsqueeze(place, ints(1)), ints(1, 3, side, side))
        return net.GatherElements("x", wide, axis=3)

    def good(net: Net) -> str:
        apart = net.Sub(offset.reshape(1, 1, side, side), net.Unsqueeze(shift(net), ints(2)))
        tent = net.Relu(net.Sub(1.0, net.Abs(apart)))
        rows = net.MatMul(net.Transpose("x", perm=[0, 2, 1, 3]), tent)
        return net.Transpose(rows, perm=[0, 2, 1, 3])

    inputs = {"x": (1, 3, side, side), "dx": (1, side, side)}
    return Case("litert-gpu", Severity.ERROR, bad, good, inputs)


def case_grid_sample() -> Case:
    side = 6
    step = np.arange(side, dtype=np.float32)
    offset = np.subtract.outer(step, step).reshape(1, 1, side, side).astype(np.float32)
    x, y = step.reshape(1, 1, side), step.reshape(1, side, 1)

    def clamped(net: Net, name: str, place: Array) -> str:
        return net.Max(net.Min(name, (side - 1) - place), -place)

    def grid(net: Net, moved: str, place: Array, last: bool) -> str:
        still_place = (y if last else x) + np.zeros((1, side, side), np.float32)
        still = net.Identity(net.store((2 * still_place + 1) / side - 1))
        at = net.Add(net.Mul(moved, 2.0 / side), ((2 * place + 1) / side - 1).astype(np.float32))
        pair = (at, still) if last else (still, at)
        return net.Concat(*(net.Unsqueeze(p, ints(3)) for p in pair), axis=3)

    def bad(net: Net) -> str:
        options = {"align_corners": 0, "padding_mode": "border", "mode": "linear"}
        rows = net.GridSample("f", grid(net, clamped(net, "dx", x), x, True), **options)
        return net.GridSample(rows, grid(net, clamped(net, "dy", y), y, False), **options)

    def good(net: Net) -> str:
        dx, dy = clamped(net, "dx", x), clamped(net, "dy", y)
        tent = net.Relu(net.Sub(1.0, net.Abs(net.Sub(offset, net.Unsqueeze(dx, ints(2))))))
        rows = net.MatMul(net.Transpose("f", perm=[0, 2, 1, 3]), tent)
        down = net.Unsqueeze(net.Transpose(dy, perm=[0, 2, 1]), ints(2))
        tent = net.Relu(net.Sub(1.0, net.Abs(net.Sub(offset, down))))
        warped = net.MatMul(net.Transpose(rows, perm=[0, 3, 2, 1]), tent)
        return net.Transpose(warped, perm=[0, 2, 3, 1])

    inputs = {"f": (1, 2, side, side), "dx": (1, side, side), "dy": (1, side, side)}
    return Case("coreml-ane", Severity.ERROR, bad, good, inputs, tolerance=1e-5)


def case_grid_sample_3d() -> Case:
    channels, depth, side, out, planes = 2, 3, 5, 4, 2
    plane = np.arange(depth, dtype=np.float32).reshape(1, depth, 1)

    def good(net: Net) -> str:
        flat = net.Reshape("f", ints(1, channels * depth, side, side))
        found = []
        for d in range(planes):
            here = net.Reshape(
                net.Slice("grid", ints(d), ints(d + 1), ints(1)), ints(1, out, out, 3)
            )
            xy = net.Slice(here, ints(0), ints(2), ints(3))
            z = net.Reshape(net.Slice(here, ints(2), ints(3), ints(3)), ints(1, 1, out * out))
            z = net.Sub(net.Mul(net.Add(z, 1.0), depth / 2.0), 0.5)
            weight = net.Relu(net.Sub(1.0, net.Abs(net.Sub(plane, z))))
            sampled = net.GridSample(flat, xy, align_corners=0, mode="linear")
            sampled = net.Reshape(sampled, ints(channels, depth, out * out))
            found.append(net.ReduceSum(net.Mul(sampled, weight), ints(1), keepdims=1))
        return net.Concat(*found, axis=1)

    return Case(
        "webgpu",
        Severity.ERROR,
        lambda net: net.GridSample("f", "grid", align_corners=0, mode="linear"),
        good,
        {"f": (1, channels, depth, side, side), "grid": (1, planes, out, out, 3)},
        scale=0.5,
    )


def case_rank() -> Case:
    c, h, w = 3, 4, 5

    def bad(net: Net) -> str:
        six = net.Reshape("x", ints(1, c, 2, 2, h, w))
        return net.Reshape(net.Transpose(six, perm=[0, 1, 4, 2, 5, 3]), ints(1, c, 2 * h, 2 * w))

    def good(net: Net) -> str:
        wide = net.Transpose(net.Reshape("x", ints(c * 2, 2, h, w)), perm=[0, 2, 3, 1])
        tall = net.Transpose(net.Reshape(wide, ints(c, 2, h, 2 * w)), perm=[0, 2, 1, 3])
        return net.Reshape(tall, ints(1, c, 2 * h, 2 * w))

    return Case("ort-nnapi", Severity.ERROR, bad, good, {"x": (1, c * 4, h, w)}, tolerance=0)


def case_conv3d() -> Case:
    ci, co, depth, side = 2, 4, 3, 5
    weight = floats(co, ci, 3, 3, 3)
    banded = np.zeros((co, depth, ci, depth, 3, 3), np.float32)
    for d in range(depth):
        for source in range(max(0, d - 1), min(depth, d + 2)):
            banded[:, d, :, source] = weight[:, :, source - d + 1]
    flat = banded.reshape(co * depth, ci * depth, 3, 3)

    def good(net: Net) -> str:
        folded = net.Reshape("x", ints(1, ci * depth, side, side))
        return net.Conv(folded, flat, pads=[1, 1, 1, 1])

    return Case(
        "litert-gpu",
        Severity.ERROR,
        lambda net: net.Conv("x", weight, pads=[1] * 6),
        good,
        {"x": (1, ci, depth, side, side)},
        tolerance=1e-5,
    )


def case_dynamic_shape() -> Case:
    same = lambda net: net.Relu("x")  # noqa: E731
    return Case(
        "coreml-ane",
        Severity.ERROR,
        same,
        same,
        {"x": (1, 3, 4, 4)},
        bad_shapes={"x": ("batch", 3, 4, "width")},
    )


def case_int64() -> Case:
    def count(net: Net, to: int, dtype: type) -> str:
        number = net.Cast(net.Mul("x", 100.0), to=to)
        sum_ = net.Add(net.Mul(number, np.array(7, dtype)), np.array(3, dtype))
        return net.Cast(sum_, to=1)

    return Case(
        "litert-gpu",
        Severity.ERROR,
        lambda net: count(net, 7, np.int64),
        lambda net: count(net, 6, np.int32),
        {"x": (2, 8)},
        tolerance=0,
    )


def case_fp16_range() -> Case:
    def norm(net: Net, scale: float) -> str:
        large = net.Mul("x", 300.0 * scale)
        return net.Mul(net.Sqrt(net.Mul(large, large)), 1.0 / scale)

    return Case(
        "coreml-ane",
        Severity.ERROR,
        lambda net: norm(net, 1.0),
        lambda net: norm(net, 2.0**-6),
        {"x": (1, 64)},
        tolerance=0,  # powers of two
        scale=2.0,
    )


def case_fp16_range_of_a_constant() -> Case:
    def bad(net: Net) -> str:
        return net.Mul(net.Mul("x", 1e-3), 1e5)

    def good(net: Net) -> str:
        return net.Mul(net.Mul(net.Mul("x", 1e-3), 1e5 / 2**10), 2.0**10)

    return Case("litert-gpu", Severity.ERROR, bad, good, {"x": (1, 64)}, tolerance=1e-4)


def case_norm_reduction() -> Case:
    weight, bias, epsilon, scale = floats(3), floats(3), 1e-5, 2.0**-5

    def bad(net: Net) -> str:
        return net.InstanceNormalization("x", weight, bias, epsilon=epsilon)

    def good(net: Net) -> str:
        mean = net.ReduceMean("x", ints(2, 3))
        small = net.Mul(net.Sub("x", mean), scale)
        square = net.ReduceMean(net.Mul(small, small), ints(2, 3))
        root = net.Sqrt(net.Add(square, epsilon * scale**2))
        scaled = net.Mul(net.Div(small, root), weight.reshape(1, 3, 1, 1))
        return net.Add(scaled, bias.reshape(1, 3, 1, 1))

    return Case(
        "coreml-ane", Severity.WARNING, bad, good, {"x": (1, 3, 32, 32)}, tolerance=1e-5, scale=50.0
    )


def case_hard_swish() -> Case:
    weight, bias = floats(6, 8), floats(6)

    def good(net: Net) -> str:
        four = net.Reshape("x", ints(1, 8, 1, 1))
        mapped = net.HardSwish(net.Conv(four, weight.reshape(6, 8, 1, 1), bias))
        return net.Reshape(mapped, ints(1, 6))

    return Case(
        "coreml-ane",
        Severity.ERROR,
        lambda net: net.HardSwish(net.Gemm("x", weight, bias, transB=1)),
        good,
        {"x": (1, 8)},
    )


def case_hard_swish_in_pieces() -> Case:
    weight, bias = floats(8, 6), floats(6)

    def swish(net: Net, x: str) -> str:
        return net.Mul(x, net.HardSigmoid(x, alpha=1 / 6, beta=0.5))

    def good(net: Net) -> str:
        four = net.Reshape("x", ints(1, 8, 1, 1))
        mapped = net.Conv(four, np.ascontiguousarray(weight.T).reshape(6, 8, 1, 1), bias)
        return net.Reshape(swish(net, mapped), ints(1, 6))

    return Case(
        "coreml-ane",
        Severity.ERROR,
        lambda net: swish(net, net.Add(net.MatMul("x", weight), bias)),
        good,
        {"x": (1, 8)},
    )


def case_half_file() -> Case:
    def bad(net: Net) -> str:
        return net.Cast(net.Relu(net.Cast("x", to=10)), to=1)

    return Case(
        "ort-nnapi", Severity.WARNING, bad, lambda net: net.Relu("x"), {"x": (1, 8)}, tolerance=2e-3
    )


def case_operator() -> Case:
    def bad(net: Net) -> str:
        leaky = net.HardSwish(net.LeakyRelu("x", alpha=0.1))
        mean = net.ReduceMean(leaky, ints(2, 3))
        return net.Sum(leaky, mean)

    def good(net: Net) -> str:
        leaky = net.Max("x", net.Mul("x", 0.1))
        swish = net.Mul(leaky, net.Clip(net.Add(net.Mul(leaky, 1 / 6), 0.5), 0.0, 1.0))
        return net.Add(swish, net.GlobalAveragePool(swish))

    return Case("ort-nnapi", Severity.ERROR, bad, good, {"x": (1, 3, 4, 4)})


def case_operator_of_decoders() -> Case:
    norm = [floats(4), floats(4), floats(4), np.abs(floats(4)) + np.float32(0.5)]
    scale, bias, mean, variance = (part.reshape(1, 4, 1, 1) for part in norm)
    factor = scale / np.sqrt(variance + np.float32(1e-5))
    weight = floats(3, 4, 2, 2)
    apart = np.ascontiguousarray(weight.reshape(3, 16).T.reshape(16, 3, 1, 1))

    def bad(net: Net) -> str:
        up = net.ConvTranspose("x", weight, strides=[2, 2])
        return net.BatchNormalization(up, *norm, epsilon=1e-5)

    def good(net: Net) -> str:
        up = net.DepthToSpace(net.Conv("x", apart), blocksize=2, mode="CRD")
        return net.Add(net.Mul(up, factor), bias - mean * factor)

    return Case("ort-nnapi", Severity.ERROR, bad, good, {"x": (1, 3, 4, 5)})


def case_constant_first() -> Case:
    matrix = floats(7, 5)

    def good(net: Net) -> str:
        turned = net.Transpose("x", perm=[0, 2, 1])
        product = net.MatMul(turned, np.ascontiguousarray(matrix.T))
        return net.Transpose(product, perm=[0, 2, 1])

    return Case(
        "litert-gpu",
        Severity.WARNING,
        lambda net: net.MatMul(matrix, "x"),
        good,
        {"x": (2, 5, 6)},
    )


def case_young_operator() -> Case:
    def bad(net: Net) -> str:
        return net.HardSwish(net.Max(net.Min("x", "y"), net.store(floats(1, 8) * 0)))

    def good(net: Net) -> str:
        least = net.Sub("x", net.Relu(net.Sub("x", "y")))
        most = net.Add(net.store(floats(1, 8) * 0), net.Relu(least))
        return net.Mul(most, net.HardSigmoid(most, alpha=1 / 6, beta=0.5))

    return Case("webgpu", Severity.WARNING, bad, good, {"x": (1, 8), "y": (1, 8)})


def case_resize_convention() -> Case:
    matrix = np.zeros((7, 4), np.float32)
    for out in range(7):
        place = out * 3 / 6
        low = min(int(place), 2)
        matrix[out, low], matrix[out, low + 1] = 1 - (place - low), place - low
    second = np.ascontiguousarray(matrix.T)

    def bad(net: Net) -> str:
        options = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
        return net.Resize("x", "", "", ints(1, 2, 7, 7), **options)

    def good(net: Net) -> str:
        wide = net.Transpose(net.MatMul("x", second), perm=[0, 1, 3, 2])
        return net.Transpose(net.MatMul(wide, second), perm=[0, 1, 3, 2])

    return Case("webgpu", Severity.WARNING, bad, good, {"x": (1, 2, 4, 4)})


def case_resize_nearest() -> Case:
    def bad(net: Net) -> str:
        options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        scales = np.array([1, 1, 2, 2], np.float32)
        return net.Resize("x", "", scales, mode="nearest", **options)

    def good(net: Net) -> str:
        return net.DepthToSpace(net.Concat("x", "x", "x", "x", axis=1), blocksize=2)

    return Case("ort-xnnpack", Severity.WARNING, bad, good, {"x": (1, 3, 4, 5)}, tolerance=0)


CASES: Sequence[tuple[str, Callable[[], Case]]] = (
    ("gather", case_gather_of_one),
    ("gather", case_gather_of_many),
    ("gather", case_gather_of_computed_places),
    ("grid-sample", case_grid_sample),
    ("grid-sample-3d", case_grid_sample_3d),
    ("rank", case_rank),
    ("conv3d", case_conv3d),
    ("dynamic-shape", case_dynamic_shape),
    ("int64", case_int64),
    ("fp16-range", case_fp16_range),
    ("fp16-range", case_fp16_range_of_a_constant),
    ("norm-reduction", case_norm_reduction),
    ("hard-swish-linear", case_hard_swish),
    ("hard-swish-linear", case_hard_swish_in_pieces),
    ("half-file", case_half_file),
    ("operator", case_operator),
    ("operator", case_operator_of_decoders),
    ("constant-first", case_constant_first),
    ("young-operator", case_young_operator),
    ("resize-convention", case_resize_convention),
    ("resize-nearest", case_resize_nearest),
)
