"""How values of two files are matched, on chains of a few operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.validation.bisect_matching import Band, Matcher, diverged
from pocketportrait.validation.bisect_trace import Trace
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.preflight.graph import Graph, Node, Value

RANDOM = np.random.default_rng(3)


def floats(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def chain(format: str, steps: list[tuple[str, Array]], given: Array, **attributes: Any) -> Trace:
    """Return a trace whose operations follow each other."""
    values = {"x": given}
    nodes = []
    before = Value("x", given.shape, "float32")
    for number, (kind, value) in enumerate(steps):
        out = Value(f"{kind}_{number}", value.shape, "float32")
        nodes.append(Node(kind, kind, out.name, (before,), (out,), attributes))
        values[out.name] = value
        before = out
    graph = Graph("f", format, (Value("x", given.shape, "float32"),), (before,), tuple(nodes))
    return Trace(graph, values, {"y": before.name}, {"y": values[before.name]})


def test_a_value_is_known_in_any_order_of_its_axes() -> None:
    value = floats(1, 4, 6, 6)
    known = chain("onnx", [("conv", value)], floats(1, 3, 6, 6))
    matcher = Matcher(known, Band.of("float32"))
    assert matcher.like(np.ascontiguousarray(value.transpose(0, 2, 3, 1))) == "conv_0"
    assert matcher.like(value.reshape(4, 6, 6) * np.float32(1 + 1e-6)) == "conv_0"


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:, ::-1],
        lambda value: value * np.float32(1.001),
        lambda value: np.roll(value, 1, axis=3),
        lambda value: value * np.float32("nan"),
    ],
)
def test_other_numbers_are_not_known(change: Any) -> None:
    value = floats(1, 4, 6, 6)
    matcher = Matcher(chain("onnx", [("conv", value)], floats(1, 3, 6, 6)), Band.of("float32"))
    assert matcher.like(np.ascontiguousarray(change(value))) is None


def test_a_sum_before_a_fused_activation_is_innocent() -> None:
    given, before, end = floats(1, 3, 6, 6), floats(1, 4, 6, 6), floats(1, 4, 6, 6)
    active = np.maximum(before, 0)
    fused = chain("tflite", [("conv", active)], given, fusedActivationFunction=1)
    assert Matcher(fused, Band.of("float32")).like(before) == "conv_0"
    plain = chain("tflite", [("conv", active)], given)
    assert Matcher(plain, Band.of("float32")).like(before) is None
    # without the activation's own kind: innocent because what follows is right again
    good = chain("onnx", [("conv", before), ("relu", active), ("conv", end)], given)
    bad = chain("tflite", [("conv", active), ("conv", end + 1)], given)
    found = diverged(bad, good, Band.of("float32"), {"conv_1"})
    assert [node.name for node in found.roots] == ["conv_1"]


def test_what_only_moves_numbers_is_passed_over() -> None:
    given, end = floats(1, 3, 6, 6), floats(1, 4, 6, 6)
    padded = np.pad(given, ((0, 0), (0, 0), (1, 1), (1, 1)))
    good = chain("onnx", [("conv", end)], given)
    bad = chain("tflite", [("pad", padded), ("conv", end * 2)], given)
    found = diverged(bad, good, Band.of("float32"), {"conv_1"})
    assert [node.name for node in found.nodes] == ["pad_0", "conv_1"]
    assert [node.name for node in found.roots] == ["conv_1"]


def test_a_wrong_output_near_the_band_makes_it_narrower() -> None:
    band = Band.of("float32")
    assert band.without(Parity(1e-6, 90.0, 1.0)) == band
    assert band.without(Parity(1e-6, 120.0, 1.0)).psnr_db == 126.0
    assert Band.of("quantized").psnr_db < Band.of("float16").psnr_db < band.psnr_db
