"""When an export cannot be made: which error, which words, and nothing half-written."""

import builtins
import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array, GraphSpec
from pocketportrait.errors import ConverterError, ExitCode, InputError, MissingToolError
from pocketportrait.export import assemble
from pocketportrait.export.assemble import export_bundle
from pocketportrait.export.converter import converter
from pocketportrait.export.example import example_inputs
from pocketportrait.export.golden import golden_vectors, write_golden
from pocketportrait.export.to_coreml import to_coreml
from pocketportrait.export.to_onnx import to_onnx
from pocketportrait.export.to_tflite import to_tflite
from pocketportrait.models.dims import graph_specs, tiny
from pocketportrait.models.student import Motion, Student

Pairs = list[tuple[Array, Array]]


@pytest.fixture(scope="module")
def motion_spec() -> GraphSpec:
    return graph_specs(tiny())["motion"]


@pytest.mark.parametrize("export", [to_onnx, to_tflite, to_coreml])
def test_training_mode_is_refused_with_the_fix(
    export: Any, motion_spec: GraphSpec, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"model\.eval\(\)"):
        export(Motion(tiny()).train(), motion_spec, tmp_path / "m")


@pytest.mark.parametrize("export", [to_onnx, to_tflite, to_coreml])
def test_an_unknown_precision_is_refused(
    export: Any, motion_spec: GraphSpec, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="want one of fp32, fp16, got 'int8'"):
        export(Motion(tiny()).eval(), motion_spec, tmp_path / "m", precision="int8")


def test_another_graph_than_its_contract_is_caught(
    tiny_student: Student, motion_spec: GraphSpec, tmp_path: Path
) -> None:
    wider = graph_specs(tiny())["motion"].outputs[0]
    spec = GraphSpec("motion", motion_spec.inputs, (type(wider)("code", (1, 99), layout="NC"),))
    with pytest.raises(ConverterError, match="want float32 outputs"):
        to_onnx(tiny_student.motion, spec, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_names_the_command(
    monkeypatch: pytest.MonkeyPatch, tiny_student: Student, motion_spec: GraphSpec, tmp_path: Path
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("coremltools"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingToolError, match=r'pip install "pocketportrait\[export\]"') as caught:
        to_coreml(tiny_student.motion, motion_spec, tmp_path / "m.mlpackage")
    assert caught.value.exit_code == ExitCode.MISSING_TOOL
    assert not list(tmp_path.iterdir())


def test_a_crash_quotes_the_converter() -> None:
    def crash() -> None:
        with converter("some-tool"):
            os.write(2, b"lowering gave up\n")
            raise RuntimeError("bad node 7")

    with pytest.raises(ConverterError) as caught:
        crash()
    assert caught.value.exit_code == ExitCode.CONVERTER_CRASHED
    assert str(caught.value) == "some-tool failed:\n  RuntimeError: bad node 7\n  lowering gave up"


def test_a_full_disk_is_no_crash() -> None:
    def write() -> None:
        with converter("some-tool"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="No space left on device; nothing was written"):
        write()


def test_an_unwritable_place_is_one_line(
    tiny_student: Student, motion_spec: GraphSpec, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for export in (to_onnx, to_coreml):
        with pytest.raises(InputError, match="want a writable place"):
            export(tiny_student.motion, motion_spec, tmp_path / "file" / "m.mlpackage")


def test_pairs_may_share_a_photo(tiny_student: Student, tiny_pairs: Pairs, tmp_path: Path) -> None:
    (photo, first), (_, second) = tiny_pairs
    paths = write_golden(tiny_student, [(photo, first), (photo, second)], tmp_path, exact=False)
    assert {graph: len(found) for graph, found in paths.items()} == dict(
        appearance=1, motion=2, render=2
    )
    assert not any(b".float64" in (tmp_path / p).read_bytes() for p in paths["render"])


def test_a_converter_that_works_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with converter("some-tool"):
        os.write(1, b"noise")
        os.write(2, b"noise")
    sys.stdout.write("ours")
    assert capfd.readouterr() == ("ours", "")


def test_example_inputs_are_objects_of_their_own() -> None:
    """One tensor for two inputs is exported as one input, and the file ignores the driver."""
    examples = example_inputs(graph_specs(tiny())["render"])
    assert len({e.data_ptr() for e in examples}) == 5
    again = example_inputs(graph_specs(tiny())["render"])
    assert all(torch.equal(a, b) for a, b in zip(examples, again, strict=True))


def test_a_golden_pair_must_move(tiny_student: Student, tiny_pairs: Pairs) -> None:
    photo, _ = tiny_pairs[0]
    with pytest.raises(InputError, match="want a photo and another frame"):
        golden_vectors(tiny_student, (photo, photo))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p * 255).astype(np.uint8), "photo: want float32"),
        (lambda p: p * 255, "pixels are 0..1"),
        (lambda p: p[:32], "photo: want shape"),
    ],
)
def test_a_golden_picture_must_fit(
    tiny_student: Student, tiny_pairs: Pairs, change: Any, message: str
) -> None:
    photo, frame = tiny_pairs[0]
    with pytest.raises(InputError, match=message):
        golden_vectors(tiny_student, (change(photo), frame))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"formats": ("onnx", "caffe")},
            "format: want some of onnx, tflite, coreml, got onnx, caffe",
        ),
        ({"formats": ()}, "got none"),
        ({"precisions": ("int3",)}, "precision: want some of fp32, fp16"),
        ({"pairs": []}, "want at least one photo and frame"),
        ({"model_card": Path("nowhere.md")}, "want a model card"),
    ],
)
def test_wrong_options_write_nothing(
    tiny_student: Student, tiny_pairs: Pairs, tmp_path: Path, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export_bundle(tiny_student, tmp_path / "b", **{"pairs": tiny_pairs, **options})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def quick_coreml(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of an export that converts nothing."""

    def quick(module: object, spec: object, path: Path, **_: object) -> Path:
        path.mkdir(parents=True)
        (path / "Manifest.json").write_text("{}")
        return path

    monkeypatch.setattr(assemble, "to_coreml", quick)
    return {"formats": ("coreml",), "precisions": ("fp16",)}


def test_a_failed_export_leaves_the_old_bundle(
    monkeypatch: pytest.MonkeyPatch,
    tiny_student: Student,
    tiny_pairs: Pairs,
    quick_coreml: dict[str, Any],
    tmp_path: Path,
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# A card")
    out = tmp_path / "bundle"
    options = {"pairs": tiny_pairs[:1], **quick_coreml}
    steps: list[str] = []
    export_bundle(tiny_student, out, model_card=card, progress=steps.append, **options)
    assert steps == [*(f"coreml fp16 {g}" for g in GRAPHS), "golden vectors"]
    assert Bundle.open(out).file("MODEL_CARD.md").read_text() == "# A card"
    before = (out / "manifest.json").read_bytes()

    def crash(*_: Any, **__: Any) -> None:
        raise ConverterError("no")

    monkeypatch.setattr(assemble, "write_golden", crash)
    for place in (out, tmp_path / "bundle.zip"):
        with pytest.raises(ConverterError):
            export_bundle(tiny_student, place, **options)
    assert (out / "manifest.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "card.md"]


def test_a_zip_holds_what_a_folder_holds(
    tiny_student: Student, tiny_pairs: Pairs, quick_coreml: dict[str, Any], tmp_path: Path
) -> None:
    options = {"pairs": tiny_pairs, **quick_coreml}
    folder = export_bundle(tiny_student, tmp_path / "bundle", **options)
    with export_bundle(tiny_student, tmp_path / "bundle.zip", **options) as archive:
        assert archive.manifest == folder.manifest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "bundle.zip"]
