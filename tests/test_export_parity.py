"""Every exported file computes what torch computes, on real pairs pushed through the whole student.

The engines are called as a stranger would call them, not through the project's own runners.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from pocketportrait.bundle import FORMATS, STANDARD_PRECISIONS, Bundle
from pocketportrait.contract import GRAPHS, Array, TensorSpec
from pocketportrait.export.golden import golden_vectors
from pocketportrait.models.student import Student

Feed = Mapping[str, Array]
FP16_PSNR_DB = 50


@pytest.fixture(scope="module")
def vectors(tiny_student: Student, unseen_pair: tuple[Array, Array]) -> dict[str, dict[str, Array]]:
    return golden_vectors(tiny_student, unseen_pair)


def run_onnx(path: Path, feed: Feed) -> dict[str, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def run_tflite(path: Path, feed: Feed) -> dict[str, Array]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path), num_threads=1).get_signature_runner()
    nhwc = {n: v.transpose(0, 2, 3, 1).copy() if v.ndim == 4 else v for n, v in feed.items()}
    result = runner(**nhwc)
    return {n: v.transpose(0, 3, 1, 2) if v.ndim == 4 else v for n, v in result.items()}


def run_coreml(path: Path, feed: Feed) -> dict[str, Array]:
    from pocketportrait.runtime.coreml_oracle import CoremlOracle

    with CoremlOracle(path) as oracle:
        return oracle.infer(feed)


RUN = {"onnx": run_onnx, "tflite": run_tflite, "coreml": run_coreml}


def assert_close(spec: TensorSpec, want: Array, got: Array, precision: str) -> None:
    assert got.dtype == np.float32
    error = np.abs(got.astype(np.float64) - want)
    if precision == "fp32":
        assert error.max() <= 1e-4 * (1 if spec.is_image else max(1, np.abs(want).max()))
    else:
        peak = 1 if spec.is_image else want.max() - want.min()
        assert 10 * np.log10(peak**2 / np.mean(error**2)) >= FP16_PSNR_DB


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("precision", STANDARD_PRECISIONS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_computes_what_torch_computes(
    tiny_bundle: Bundle,
    vectors: dict[str, dict[str, Array]],
    format: str,
    precision: str,
    graph: str,
) -> None:
    spec = tiny_bundle.graph_spec(graph)
    path = tiny_bundle.file(tiny_bundle.variant(format, precision).graphs[graph].path)
    got = RUN[format](path, {t.name: vectors[graph][t.name] for t in spec.inputs})
    assert set(got) == {t.name for t in spec.outputs}
    for output in spec.outputs:
        assert_close(output, vectors[graph][output.name], got[output.name], precision)


@pytest.mark.parametrize("format", FORMATS)
def test_render_listens_to_both_codes(
    tiny_bundle: Bundle, vectors: dict[str, dict[str, Array]], format: str
) -> None:
    spec = tiny_bundle.graph_spec("render")
    path = tiny_bundle.file(tiny_bundle.variant(format, "fp32").graphs["render"].path)
    feed = {t.name: vectors["render"][t.name] for t in spec.inputs}
    swapped = {**feed, "source_code": feed["driving_code"], "driving_code": feed["source_code"]}
    still = {**feed, "driving_code": feed["source_code"]}
    first = RUN[format](path, feed)["image"]
    for other in (swapped, still):
        assert np.abs(RUN[format](path, other)["image"] - first).max() > 0.01


def test_golden_vectors_replay_through_the_contract(
    tiny_bundle: Bundle, tiny_student: Student
) -> None:
    for graph in GRAPHS:
        spec = tiny_bundle.graph_spec(graph)
        count = 0
        for golden in tiny_bundle.golden(graph):
            count += 1
            feed = {t.name: golden[t.name] for t in spec.inputs}
            spec.check_feed(feed)
            with torch.inference_mode():
                result = getattr(tiny_student, graph)(*(torch.from_numpy(v) for v in feed.values()))
            outputs = result if isinstance(result, tuple) else (result,)
            for tensor, output in zip(spec.outputs, outputs, strict=True):
                assert np.abs(golden[tensor.name] - output.numpy()).max() <= 1e-5
                exact = golden.get(f"{tensor.name}.float64")
                assert (exact is None) == (count == 2)  # the first sample measures the noise
                if exact is not None:
                    assert exact.dtype == np.float64
                    assert 0 < np.abs(exact - golden[tensor.name]).max() < 1e-4
        assert count == 2


def test_golden_codes_differ(tiny_bundle: Bundle) -> None:
    for golden in tiny_bundle.golden("render"):
        assert np.abs(golden["source_code"] - golden["driving_code"]).max() > 0.1
