"""What single formats do with a recipe: unpacked weights in ONNX, dynamic int8 in TFLite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.quantize.comparison import compare
from pocketportrait.quantize.laboratory import quantize_bundle
from pocketportrait.quantize.layers import Layer, read_layers
from pocketportrait.quantize.onnx_backend import quantize_onnx
from pocketportrait.quantize.plan import make_plan
from pocketportrait.quantize.read_back import differences, read_back
from pocketportrait.quantize.recipe import Recipe, Rule, weights_w8

LIKE_W8 = (Rule(graph="motion", layers=r"body\.[1-9]\..*", scheme="w8a8_dynamic"),)


@pytest.mark.parametrize("symmetric", [True, False])
def test_onnx_runtime_folds_unpacked_weights(
    tiny_bundle: Bundle, tmp_path: Path, symmetric: bool
) -> None:
    """What is left of them after loading are constants, and the numbers are the rounded ones."""
    recipe = Recipe(name="x", scheme="w8", symmetric=symmetric)
    files = tiny_bundle.variant("onnx", "fp32").graphs
    layers = {graph: read_layers(tiny_bundle.file(files[graph].path)) for graph in GRAPHS}
    plan = make_plan(recipe, layers, ("onnx",))["motion"]
    source = tiny_bundle.file(files["motion"].path)
    spec = tiny_bundle.graph_spec("motion")
    path = quantize_onnx(source, spec, plan, [], tmp_path / "motion.onnx")
    assert differences(read_back(path, source, plan), plan) == []
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert not {"Cast", "Mul", "DequantizeLinear"} & {node.op_type for node in loaded.node}
    held = onnx.load(path).graph.initializer
    assert sum(t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for t in held) == len(
        plan.layers
    )
    vector = next(iter(tiny_bundle.golden("motion")))
    feed = {"frame": vector["frame"]}
    codes = [
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, feed)[
            0
        ]
        for file in (source, path)
    ]
    assert 0 < np.abs(codes[0] - codes[1]).max() < 0.1 * np.abs(codes[0]).max()


def test_dynamic_int8_is_read_back_as_such(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """It needs no calibration, and is neither static int8 nor float with 8-bit weights."""
    recipe = Recipe(name="dynamic", scheme="fp32", rules=LIKE_W8)
    assert not recipe.needs_calibration
    result = quantize_bundle(tiny_bundle.root, recipe, tmp_path / "out", formats=("tflite",))
    with result.bundle as bundle:
        assert result.differences == ()
        motion = result.facts["tflite"][1]
        dynamic = {layer.name for layer in motion.layers if layer.dynamic}
        assert "body.1.0" in dynamic
        assert not any(layer.integer for layer in motion.layers)
        assert bundle.variant("tflite", "dynamic").activations == "int8"
        read = bundle.variant("tflite", "dynamic").quantization["read_back"]["motion"]
        low, high = read["weight_scales"]["body.1.0"]
        assert 0 < low <= high
        (row,) = (r for r in compare([bundle.root]) if r.variant == "tflite/dynamic")
        assert 20 < row.quality_db < 90
        # the same file under a recipe that says w8
        plan = make_plan(weights_w8(), {g: _layers(bundle, g) for g in GRAPHS}, ("tflite",))
        path = bundle.file("tflite/dynamic/motion.tflite")
        source = bundle.file("tflite/fp32/motion.tflite")
        found = differences(read_back(path, source, plan["motion"]), plan["motion"])
    assert any("want it to compute in float, the file computes in integers of" in f for f in found)


def _layers(bundle: Bundle, graph: str) -> tuple[Layer, ...]:
    return read_layers(bundle.file(bundle.variant("onnx", "fp32").graphs[graph].path))


@pytest.mark.parametrize("format", ["onnx", "coreml"])
def test_dynamic_int8_is_for_tflite_alone(tiny_bundle: Bundle, format: str) -> None:
    layers = {graph: _layers(tiny_bundle, graph) for graph in GRAPHS}
    recipe = Recipe(name="d", scheme="w8a8_dynamic")
    with pytest.raises(InputError, match=f"{format} cannot be w8a8_dynamic: .*nearest is w8a8"):
        make_plan(recipe, layers, (format,))
