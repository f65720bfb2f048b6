"""The files themselves: repeatable, silent, named by the contract, and free of the machine's traces."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pocketportrait.bundle import FORMATS, STANDARD_PRECISIONS, Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.export.to_coreml import to_coreml
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.student import Student
from pocketportrait.models.weights import save_student

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite", "coreml": ".mlpackage"}
EXPORT_AGAIN = """
import sys
from pathlib import Path
from pocketportrait.export.to_coreml import to_coreml
from pocketportrait.export.to_onnx import to_onnx
from pocketportrait.export.to_tflite import to_tflite
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.weights import load_student
student = load_student(Path(sys.argv[1]))
export = {"onnx": to_onnx, "tflite": to_tflite, "coreml": to_coreml}
for name in sys.argv[2:]:
    format, precision, file = name.split("/")
    graph = file.partition(".")[0]
    spec = graph_specs(student.dims)[graph]
    export[format](getattr(student, graph), spec, Path(name), precision=precision)
"""


def names(
    formats: tuple[str, ...], graphs: tuple[str, ...], precisions: tuple[str, ...]
) -> list[str]:
    return [f"{f}/{p}/{g}{SUFFIXES[f]}" for f in formats for p in precisions for g in graphs]


def assert_repeats(bundle: Bundle, student: Student, files: list[str], folder: Path) -> None:
    """Export in another process, with another hash seed, from another folder; compare all bytes."""
    save_student(student, folder / "student.safetensors", half=False)
    result = subprocess.run(
        [sys.executable, "-c", EXPORT_AGAIN, "student.safetensors", *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    for name in [part for file in files for part in bundle.manifest.files_of(file)]:
        assert (folder / name).read_bytes() == bundle.file(name).read_bytes(), name


@pytest.mark.slow
def test_export_is_silent_and_repeats_to_the_byte(
    tiny_bundle: Bundle, tiny_student: Student, tmp_path: Path
) -> None:
    files = [
        *names(("onnx", "coreml"), ("motion",), STANDARD_PRECISIONS),
        "tflite/fp32/motion.tflite",
    ]
    assert_repeats(tiny_bundle, tiny_student, files, tmp_path)


@pytest.mark.slow
def test_all_graphs_repeat_to_the_byte(
    tiny_bundle: Bundle, tiny_student: Student, tmp_path: Path
) -> None:
    # float16 files are made from float32 files in a bundle, and from the module here
    files = names(FORMATS, ("appearance", "render"), STANDARD_PRECISIONS)
    assert_repeats(tiny_bundle, tiny_student, [*files, "tflite/fp16/motion.tflite"], tmp_path)


def test_no_file_tells_of_the_machine(tiny_bundle: Bundle) -> None:
    folders = rb"/(?:home|root|usr|tmp|opt|work|var)/"  # where checkouts and environments lie
    traces = re.compile(folders + rb"|site-packages|\.py\b|20\d\d-\d\d-\d\d")
    for name in tiny_bundle.manifest.files:
        assert not traces.search(tiny_bundle.file(name).read_bytes()), name
    assert not traces.search((tiny_bundle.root / "manifest.json").read_bytes())
    assert str(ROOT).encode() not in (tiny_bundle.root / "manifest.json").read_bytes()


def test_a_bundle_holds_every_format_and_precision(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    for format in FORMATS:
        for precision in STANDARD_PRECISIONS:
            variant = tiny_bundle.variant(format, precision)
            for graph in GRAPHS:
                path = f"{format}/{precision}/{graph}{SUFFIXES[format]}"
                assert variant.graphs[graph].path == path
                assert manifest.files_of(path)
            layouts = {t.layout for t in variant.graphs["render"].inputs}
            assert layouts == {"NHWC" if format == "tflite" else "NCHW", "NC"}
    assert manifest.code_slices == {"pose": (0, 6), "expression": (6, 16)}
    assert {
        "torch",
        "onnx",
        "coremltools",
        "litert-torch",
        "pocketportrait",
    } <= manifest.tools.keys()
    assert not any("+" in version for version in manifest.tools.values())
    assert json.loads(manifest.model["dims"])["side"] == 64


def test_half_precision_halves_the_weights(tiny_bundle: Bundle) -> None:
    def weight(format: str, precision: str) -> int:
        files = tiny_bundle.manifest.files
        prefix = f"{format}/{precision}/"
        return sum(facts.bytes for name, facts in files.items() if name.startswith(prefix))

    for format in FORMATS:
        assert weight(format, "fp16") < 0.75 * weight(format, "fp32")  # names and shapes stay


def test_core_ml_images_are_images(tiny_student: Student, tmp_path: Path) -> None:
    from coremltools.proto import Model_pb2

    from pocketportrait.runtime.coreml_oracle import CoremlOracle

    spec = graph_specs(tiny_student.dims)["motion"]
    path = to_coreml(tiny_student.motion, spec, tmp_path / "motion.mlpackage", io="image")
    model = Model_pb2.Model()
    model.ParseFromString((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    image = model.description.input[0].type.imageType
    assert (image.width, image.height) == (64, 64)
    with CoremlOracle(path) as oracle:
        assert [t.name for t in oracle.outputs] == ["code"]


def test_a_package_takes_the_old_ones_place_whole(tiny_student: Student, tmp_path: Path) -> None:
    spec = graph_specs(tiny_student.dims)["motion"]
    old = tmp_path / "motion.mlpackage"
    old.mkdir()
    (old / "left-over").touch()
    to_coreml(tiny_student.motion, spec, old)
    assert not (old / "left-over").exists()
    assert list(tmp_path.iterdir()) == [old]
