from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, TensorModel, VariantGraph
from pocketportrait.contract import GRAPHS, Array, GraphSpec, TensorSpec
from pocketportrait.errors import ExitCode, InputError, MissingToolError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.litert_runner import LitertRunner
from pocketportrait.runtime.onnx_runner import OnnxRunner
from pocketportrait.runtime.runner import available_runners, is_emulated, open_file, open_runner

VARIANTS = [
    (format, precision) for format in ("onnx", "tflite", "coreml") for precision in ("fp32", "fp16")
]


def feed_of(spec: GraphSpec, golden: dict[str, Array]) -> dict[str, Array]:
    return {tensor.name: golden[tensor.name] for tensor in spec.inputs}


def add_model(path: Path, shape: list[int | str] | None = None) -> Path:
    """Write y = x + 1."""
    onnx = pytest.importorskip("onnx")
    make, size = onnx.helper, shape or [1, 2]
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = make.make_graph(
        [make.make_node("Add", ["x", "one"], ["y"])],
        "add",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, size)],
        [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, size)],
        [one],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("format", "precision"), VARIANTS)
def test_golden_vectors_replay_in_the_contracts_layout(
    tiny_bundle: Bundle, format: str, precision: str
) -> None:
    for graph in GRAPHS:
        spec = tiny_bundle.graph_spec(graph)
        with open_runner(tiny_bundle, format, precision, graph, threads=1) as runner:
            assert (runner.inputs, runner.outputs) == (spec.inputs, spec.outputs)
            for golden in tiny_bundle.golden(graph):
                for tensor, got in zip(
                    spec.outputs, runner.infer(feed_of(spec, golden)).values(), strict=True
                ):
                    want = golden[tensor.name]
                    tensor.check(got.clip(0, 1) if tensor.is_image else got)
                    error = np.abs(got.astype(np.float64) - want)
                    if precision == "fp32":
                        assert error.max() <= 1e-4 * max(1.0, float(np.abs(want).max()))
                    else:
                        peak = 1 if tensor.is_image else np.ptp(want)
                        assert 10 * np.log10(peak**2 / (error**2).mean()) >= 50


@pytest.mark.parametrize("format", ["onnx", "tflite", "coreml"])
def test_outputs_are_copies_and_bound_inputs_change_nothing(
    tiny_bundle: Bundle, format: str
) -> None:
    spec = tiny_bundle.graph_spec("render")
    feed = feed_of(spec, next(tiny_bundle.golden("render")))
    other = feed | {"driving_code": feed["driving_code"] * 0.5}
    with open_runner(tiny_bundle, format, "fp32", "render", threads=1) as runner:
        first = runner.infer(feed)["image"]
        kept = first.copy()
        runner.bind({name: value for name, value in feed.items() if name != "driving_code"})
        second = runner.infer({"driving_code": other["driving_code"]})["image"]
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(second, runner.infer(other)["image"])
        assert np.abs(second - first).max() > 1e-3
        with pytest.raises(InputError, match=r"render: want inputs \['driving_code'\], got \[\]"):
            runner.infer({})


def test_a_file_unlike_the_manifest_is_refused(tmp_path: Path) -> None:
    path = add_model(tmp_path / "add.onnx")
    contract = GraphSpec(
        "motion", (TensorSpec("x", (1, 2), layout="NC"),), (TensorSpec("y", (1, 2), layout="NC"),)
    )

    def declared(**changed: Any) -> VariantGraph:
        x = TensorModel.of(contract.inputs[0]).model_copy(update=changed)
        return VariantGraph(
            path="add.onnx", inputs=(x,), outputs=(TensorModel.of(contract.outputs[0]),)
        )

    with ContractRunner(OnnxRunner(path), contract, declared()) as runner:
        assert runner.infer({"x": np.zeros((1, 2), np.float32)})["y"].tolist() == [[1, 1]]
    with (
        pytest.raises(
            InputError,
            match=r"add.onnx: inputs: x: the manifest says float32 \(1, 3\), the file float32 \(1, 2\)",
        ),
        ContractRunner(OnnxRunner(path), contract, declared(shape=(1, 3))),
    ):
        pass
    with (
        pytest.raises(InputError, match="export it again"),
        ContractRunner(OnnxRunner(path), contract, declared(name="z")),
    ):
        pass


def test_shapes_must_be_fixed(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="x: want a fixed shape"),
        OnnxRunner(add_model(tmp_path / "a.onnx", ["n", 2])),
    ):
        pass


def test_broken_and_missing_files_say_what_was_wanted(tmp_path: Path) -> None:
    for format, name in (("onnx", "a.onnx"), ("tflite", "a.tflite"), ("coreml", "a.mlpackage")):
        path = tmp_path / name
        with (
            pytest.raises(InputError, match=f"{name}: want an? .*got nothing there"),
            open_file(path, format),
        ):
            pass
        if format == "coreml":
            (path / "Data").mkdir(parents=True)
        else:
            path.write_bytes(b"not a model at all")
        with pytest.raises(InputError, match=f"{name}: want a"), open_file(path, format):
            pass


def test_runners_are_listed_with_the_reason_why_not() -> None:
    tflite = {status.name: status for status in available_runners("tflite")}
    assert list(tflite) == ["litert", "tflite-runtime"]
    assert tflite["litert"].available
    assert [status.name for status in available_runners("coreml")] == ["coreml", "oracle"]
    assert is_emulated("oracle")
    assert not is_emulated("onnxruntime")
    with pytest.raises(InputError, match="want one of onnx, tflite, coreml, got 'caffe'"):
        available_runners("caffe")


def test_wrong_names_are_refused_with_the_choices(tiny_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="want one of onnxruntime for onnx, got 'litert'"):
        open_runner(tiny_bundle, "onnx", "fp32", "motion", runner="litert")
    with pytest.raises(InputError, match="onnx/w4: not in this bundle"):
        open_runner(tiny_bundle, "onnx", "w4", "motion")
    with pytest.raises(InputError, match="blink: no such graph"):
        open_runner(tiny_bundle, "onnx", "fp32", "blink")
    with pytest.raises(InputError, match="threads: want 1 or more, got 0"):
        open_runner(tiny_bundle, "onnx", "fp32", "motion", threads=0)


def test_tflite_runtime_is_refused_before_it_dies_beside_numpy_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: find("json") if name == "tflite_runtime" else find(name),
    )
    (tmp_path / "a.tflite").write_bytes(b"anything")
    runner = LitertRunner(tmp_path / "a.tflite", package="tflite_runtime")
    with (
        pytest.raises(MissingToolError, match=r"numpy below 2.*pocketportrait\[litert\]") as caught,
        runner,
    ):
        pass
    assert caught.value.exit_code is ExitCode.MISSING_TOOL


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has the real one")
def test_core_ml_points_to_the_oracle_elsewhere(tiny_bundle: Bundle) -> None:
    with pytest.raises(MissingToolError, match=r"Core ML runs on macOS alone.*`oracle`"):
        open_runner(tiny_bundle, "coreml", "fp32", "motion", runner="coreml")


def test_the_runtime_imports_no_engine_before_it_is_asked_for() -> None:
    program = (
        "import sys\n"
        "from pocketportrait.runtime import animation, coreml_runner, litert_runner, onnx_runner\n"
        "print({module.split('.')[0] for module in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "'numpy'" in loaded.stdout
    for heavy in ("torch", "coremltools", "onnxruntime", "ai_edge_litert", "onnx", "cv2"):
        assert f"'{heavy}'" not in loaded.stdout
