from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, TensorModel, VariantGraph
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.runtime import coreml_runner
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.coreml_package import import_coremltools

if TYPE_CHECKING:
    from pocketportrait.models.student import Student

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")

from pocketportrait.runtime.coreml_oracle import CoremlOracle  # noqa: E402
from pocketportrait.runtime.mil.program import MilProgram  # noqa: E402

MODEL = "Data/com.apple.CoreML/model.mlmodel"


def package(tiny_bundle: Bundle, graph: str, precision: str = "fp32") -> Path:
    return tiny_bundle.file(tiny_bundle.variant("coreml", precision).graphs[graph].path)


def edited(source: Path, target: Path, edit: Callable[[Any], None]) -> Path:
    """Copy a package, with a change in its program."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    shutil.copytree(source, target)
    spec = Model_pb2.Model()
    spec.ParseFromString((target / MODEL).read_bytes())
    edit(spec)
    (target / MODEL).chmod(0o644)
    (target / MODEL).write_bytes(spec.SerializeToString())
    return target


def operations(spec: Any) -> Any:
    main = spec.mlProgram.functions["main"]
    return main.block_specializations[main.opset].operations


def test_unknown_operations_are_refused_by_name_before_anything_runs(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    def rename(spec: Any) -> None:
        found = [operation for operation in operations(spec) if operation.type == "relu"]
        found[0].type, found[1].type = "frobnicate", "crop_resize"

    path = edited(package(tiny_bundle, "render"), tmp_path / "odd.mlpackage", rename)
    with pytest.raises(InputError, match=r"odd.mlpackage: .*operations crop_resize, frobnicate"):
        MilProgram(path)


def test_a_changed_weight_changes_the_result(tiny_bundle: Bundle, tmp_path: Path) -> None:
    source = package(tiny_bundle, "motion")
    target = tmp_path / "changed.mlpackage"
    shutil.copytree(source, target)
    weights = target / "Data/com.apple.CoreML/weights/weight.bin"
    weights.chmod(0o644)
    content = np.frombuffer(weights.read_bytes(), np.float32).copy()
    largest = np.nanargmax(np.where(np.abs(content) < 100, np.abs(content), 0))
    content[largest] *= -1
    weights.write_bytes(content.tobytes())
    feed = {"frame": next(tiny_bundle.golden("motion"))["frame"]}
    with CoremlOracle(source) as healthy, CoremlOracle(target) as faulty:
        difference = healthy.infer(feed)["code"] - faulty.infer(feed)["code"]
    assert np.abs(difference).max() > 1e-3


def test_values_on_the_way_can_be_kept(tiny_bundle: Bundle) -> None:
    program = MilProgram(package(tiny_bundle, "motion"))
    frame = torch.from_numpy(next(tiny_bundle.golden("motion"))["frame"])
    inner = next(step.results[0].name for step in program._steps if step.kind == "conv")
    kept = program.run({"frame": frame}, keep={inner})
    assert set(kept) == {"code", inner}
    assert kept[inner].dim() == 4


def test_threads_are_given_back(tiny_bundle: Bundle) -> None:
    before = torch.get_num_threads()
    with CoremlOracle(package(tiny_bundle, "motion"), threads=before + 1) as oracle:
        oracle.infer({"frame": next(tiny_bundle.golden("motion"))["frame"]})
    assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def image_packages(
    tiny_student: Student, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Motion and render with pictures as Core ML images."""
    from pocketportrait.export.to_coreml import to_coreml

    folder = tmp_path_factory.mktemp("images")
    graphs = {"motion": tiny_student.motion, "render": tiny_student.render}
    return {
        name: to_coreml(
            module, tiny_bundle.graph_spec(name), folder / f"{name}.mlpackage", io="image"
        )
        for name, module in graphs.items()
    }


def image_variant(tiny_bundle: Bundle, graph: str) -> VariantGraph:
    spec = tiny_bundle.graph_spec(graph)
    sides = [
        tuple(TensorModel.of(t, kind="image" if t.is_image else "tensor") for t in tensors)
        for tensors in (spec.inputs, spec.outputs)
    ]
    return VariantGraph(path=f"{graph}.mlpackage", inputs=sides[0], outputs=sides[1])


def check_images(
    tiny_bundle: Bundle, image_packages: dict[str, Path], make: Callable[..., Any]
) -> None:
    for graph, path in image_packages.items():
        golden = next(tiny_bundle.golden(graph))
        spec = tiny_bundle.graph_spec(graph)
        feed = {tensor.name: golden[tensor.name] for tensor in spec.inputs}
        with ContractRunner(make(path), spec, image_variant(tiny_bundle, graph)) as runner:
            (name, got), *_ = runner.infer(feed).items()
        want = golden[name]
        # a picture of 8 bits: half a step of rounding on the way in or out
        limit = 0.51 / 255 if name == "image" else 0.05 * np.ptp(want)
        assert np.abs(got - want).max() <= limit, graph


def test_pictures_go_in_and_come_out_as_core_ml_images(
    tiny_bundle: Bundle, image_packages: dict[str, Path]
) -> None:
    check_images(tiny_bundle, image_packages, CoremlOracle)
    with CoremlOracle(image_packages["motion"]) as oracle:
        (frame,) = oracle.inputs
        assert (frame.shape, frame.dtype, frame.layout) == ((1, 64, 64, 3), "uint8", "NHWC")


def test_the_order_of_colours_is_the_files(
    tiny_bundle: Bundle, image_packages: dict[str, Path], tmp_path: Path
) -> None:
    def to_bgr(spec: Any) -> None:
        spec.description.input[0].type.imageType.colorSpace = 30

    swapped = edited(image_packages["motion"], tmp_path / "bgr.mlpackage", to_bgr)
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    with CoremlOracle(image_packages["motion"]) as rgb, CoremlOracle(swapped) as bgr:
        want = rgb.infer({"frame": picture})["code"]
        np.testing.assert_array_equal(bgr.infer({"frame": picture[..., ::-1].copy()})["code"], want)


def test_the_macos_runner_speaks_the_same_language(
    tiny_bundle: Bundle, image_packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLModel.predict, played by the oracle: arrays and PIL pictures by name, in and out."""
    from PIL import Image

    class Model:
        def __init__(self, path: str, compute_units: str) -> None:
            assert compute_units == "cpu"
            self.oracle = CoremlOracle(Path(path)).__enter__()

        def predict(self, feed: dict[str, Any]) -> dict[str, Any]:
            def array(value: Any) -> Array:
                return np.asarray(value)[None] if isinstance(value, Image.Image) else value

            results = self.oracle.infer({name: array(value) for name, value in feed.items()})
            return {
                n: Image.fromarray(v[0]) if v.dtype == np.uint8 else v for n, v in results.items()
            }

    fake = SimpleNamespace(models=SimpleNamespace(MLModel=Model), ComputeUnit={"CPU_ONLY": "cpu"})
    monkeypatch.setattr(coreml_runner, "why_not", lambda: None)
    monkeypatch.setattr(coreml_runner, "import_coremltools", lambda: fake)
    check_images(
        tiny_bundle, image_packages, lambda path: coreml_runner.CoremlRunner(path, units="CPU_ONLY")
    )


@pytest.mark.slow
def test_the_phone_student_in_both_precisions(
    phone_student: Student, unseen_pair: tuple[Array, Array], tmp_path: Path
) -> None:
    from pocketportrait.export.golden import golden_vectors
    from pocketportrait.export.to_coreml import to_coreml
    from pocketportrait.models.dims import graph_specs

    photo, frame = (picture.repeat(4, 0).repeat(4, 1) for picture in unseen_pair)
    vectors = golden_vectors(phone_student, (photo, frame))
    for graph, spec in graph_specs(phone_student.dims).items():
        feed = {tensor.name: vectors[graph][tensor.name] for tensor in spec.inputs}
        for precision in ("fp32", "fp16"):
            path = to_coreml(
                getattr(phone_student, graph),
                spec,
                tmp_path / f"{graph}.mlpackage",
                precision=precision,
            )
            with CoremlOracle(path) as oracle:
                got = oracle.infer(feed)
            for tensor in spec.outputs:
                want = vectors[graph][tensor.name].astype(np.float64)
                error = np.abs(got[tensor.name] - want)
                if precision == "fp32":
                    assert error.max() <= 1e-4 * (
                        1 if tensor.is_image else max(1, np.abs(want).max())
                    )
                else:
                    peak = 1 if tensor.is_image else np.ptp(want)
                    assert 10 * np.log10(peak**2 / (error**2).mean()) >= 50, (graph, tensor.name)
