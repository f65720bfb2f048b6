"""The exported render graph marks what it draws, and is otherwise the renderer that it was."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.export import assemble
from pocketportrait.export.assemble import export_bundle
from pocketportrait.export.golden import golden_vectors
from pocketportrait.export.marked import Mark, bundle_id_of, marked_student
from pocketportrait.export.operators import delegation_of
from pocketportrait.export.to_onnx import halve_onnx, to_onnx
from pocketportrait.export.to_tflite import to_tflite
from pocketportrait.mark import field_of_side, mark_picture
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.student import Student

Pair = tuple[Array, Array]


@pytest.fixture(scope="module")
def marked(tiny_student: Student) -> Student:
    return marked_student(tiny_student, Mark())


def drawn(student: Student, feed: dict[str, Array]) -> Array:
    names = ("features", "features_flow", "features_skip", "source_code", "driving_code")
    with torch.inference_mode():
        image: Array = student.render(*(torch.from_numpy(feed[n]) for n in names)).numpy()
    return image


def test_weights_and_their_names_stay(tiny_student: Student, marked: Student) -> None:
    before, after = tiny_student.state_dict(), marked.state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].data_ptr() == after[name].data_ptr() for name in before)
    assert "field" not in dict(tiny_student.render.named_buffers())
    assert not marked.render.training


def test_the_graph_marks_as_numpy_does(
    tiny_student: Student, marked: Student, unseen_pair: Pair
) -> None:
    feed = golden_vectors(tiny_student, unseen_pair, exact=False)["render"]
    plain = np.rint(drawn(tiny_student, feed)[0].transpose(1, 2, 0) * 255)
    got = drawn(marked, feed)[0].transpose(1, 2, 0) * 255
    field = field_of_side(bundle_id_of(tiny_student), tiny_student.dims.side)
    want = mark_picture(plain.astype(np.uint8), field)
    assert np.abs(got - want).mean() < 0.5  # numpy rounds to levels before and after
    assert np.abs(got - plain).mean() > 0.7
    change = (got - drawn(tiny_student, feed)[0].transpose(1, 2, 0) * 255).mean(-1)
    assert np.corrcoef(change.ravel(), field.ravel())[0, 1] > 0.9


def test_the_id_is_of_the_weights(tiny_student: Student, marked: Student) -> None:
    assert bundle_id_of(marked) == bundle_id_of(tiny_student)
    other = Student(tiny_student.dims)
    assert bundle_id_of(other) != bundle_id_of(tiny_student)


@pytest.mark.slow
def test_onnx_computes_what_torch_computes(
    marked: Student, unseen_pair: Pair, tmp_path: Path
) -> None:
    vectors = golden_vectors(marked, unseen_pair, exact=False)["render"]
    spec = graph_specs(marked.dims)["render"]
    full = to_onnx(marked.render, spec, tmp_path / "render.onnx")
    half = halve_onnx(full, spec, tmp_path / "half.onnx")  # as in a bundle
    errors = []
    for path in (full, half):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (got,) = session.run(["image"], {t.name: vectors[t.name] for t in spec.inputs})
        errors.append(got.astype(np.float64) - vectors["image"])
    assert np.abs(errors[0]).max() <= 1e-4
    assert 10 * np.log10(1 / np.mean(errors[1] ** 2)) >= 50


@pytest.mark.slow
def test_xnnpack_still_takes_every_node(marked: Student, unseen_pair: Pair, tmp_path: Path) -> None:
    spec = graph_specs(marked.dims)["render"]
    path = to_tflite(marked.render, spec, tmp_path / "render.tflite")
    assert delegation_of(path).whole


@pytest.mark.slow
def test_the_manifest_tells_of_the_mark(
    tiny_student: Student,
    tiny_pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def written(module: object, spec: object, path: Path, *, precision: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"what the graph computes is shown above")

    monkeypatch.setattr(assemble, "to_onnx", written)
    bundle: Bundle = export_bundle(
        tiny_student,
        tmp_path / "bundle",
        pairs=tiny_pairs[:1],
        formats=("onnx",),
        precisions=("fp16",),
        mark=Mark(b"private"),
    )
    with bundle:
        model = bundle.manifest.model
        assert model["bundle_id"] == f"{bundle_id_of(tiny_student):016x}"
        assert model["mark_key"].startswith("private ")
        assert "private" not in model["mark_key"].removeprefix("private ")
        (golden,) = bundle.golden("render")
        want = drawn(marked_student(tiny_student, Mark(b"private")), golden)
        assert np.abs(golden["image"] - want).max() <= 1e-5
