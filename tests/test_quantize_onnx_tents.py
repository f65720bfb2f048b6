"""The warp's tent matrices as one ONNX operator: same numbers, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pocketportrait.bundle import Bundle
from pocketportrait.quantize.onnx_tents import tents_in_one

SHAPE = (1, 4, 8, 8)


def graph_of(peak: float, *, read_twice: bool = False) -> onnx.ModelProto:
    """Return a graph of `relu(peak - |x|)`, whose `peak - |x|` may also be an output."""
    nodes = [
        helper.make_node("Abs", ["x"], ["size"], "abs"),
        helper.make_node("Sub", ["peak", "size"], ["flipped"], "sub"),
        helper.make_node("Relu", ["flipped"], ["tent"], "relu"),
        helper.make_node("Neg", ["flipped"], ["other"], "neg"),
    ]
    outputs = ["tent", "other"] if read_twice else ["tent"]
    graph = helper.make_graph(
        nodes if read_twice else nodes[:3],
        "tents",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in outputs],
        [numpy_helper.from_array(np.float32(peak), "peak")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: np.ndarray = session.run(["tent"], {"x": x})[0]
    return found


def test_a_tent_becomes_one_operator_with_the_same_numbers() -> None:
    x = np.random.default_rng(0).uniform(-2, 2, SHAPE).astype(np.float32)
    model = graph_of(1.0)
    before = answers(model, x)
    assert tents_in_one(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Abs", "HardSigmoid"]
    assert np.array_equal(answers(model, x), before)
    assert tents_in_one(model) == 0


@pytest.mark.parametrize(("peak", "read_twice"), [(2.0, False), (1.0, True)])
def test_what_is_no_tent_stays(peak: float, read_twice: bool) -> None:
    model = graph_of(peak, read_twice=read_twice)
    before = model.SerializeToString()
    assert tents_in_one(model) == 0
    assert model.SerializeToString() == before


def test_all_tents_of_the_renderer_are_found(tiny_bundle: Bundle) -> None:
    render = onnx.load(tiny_bundle.file(tiny_bundle.variant("onnx", "fp32").graphs["render"].path))
    assert tents_in_one(render) == 6
    onnx.checker.check_model(render, full_check=True)
