"""The face reader's conversation with its worker, and identity, without MediaPipe."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError, PortraitError
from pocketportrait.validation import face_reader
from pocketportrait.validation.face_reader import IDENTITY, LANDMARKER, FaceReader, score_python
from pocketportrait.validation.face_worker import label_worker, measured
from pocketportrait.validation.identity import TEMPLATE, IdentityNetwork, align

# Answers as the worker does: a black picture has no face, a white one kills it, and of any other the
# values are its brightness.
WORKER = """
import struct, sys
import numpy as np
out = sys.stdout.buffer
out.write(b"faces 1\\n"); out.flush()
asked = 0
while header := sys.stdin.buffer.read(4):
    height, width = struct.unpack("<HH", header)
    level = np.frombuffer(sys.stdin.buffer.read(height * width * 3), np.uint8).mean()
    asked += 1
    if level == 255:
        sys.stderr.write("first line\\nit hurts\\n")
        sys.exit(7)
    values = np.full(478 * 2 + 52 + 3, level, "<f4")
    values[-1] = asked
    out.write(b"\\x01" + values.tobytes() if level else b"\\x00")
    out.flush()
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(face_reader, "WORKER", worker)
    monkeypatch.delenv(face_reader.PYTHON_VARIABLE, raising=False)
    (tmp_path / LANDMARKER).write_bytes(b"model")
    return tmp_path


def flat(level: int) -> Array:
    return np.full((256, 256, 3), level, np.uint8)


def test_a_face_is_read_into_its_parts(models: Path) -> None:
    with FaceReader(models) as reader:
        found = reader.read(flat(60), identity=True)
    assert found is not None
    assert found.points.shape == (478, 2)
    assert found.blendshapes.shape == (52,)
    assert found.pose.tolist() == [60, 60, 1]
    assert found.identity is None
    assert not reader.knows_identity
    assert reader.hashes().keys() == {LANDMARKER}


def test_a_picture_without_a_face_is_none(models: Path) -> None:
    with FaceReader(models) as reader:
        assert reader.read(flat(0)) is None


def test_a_picture_is_read_once(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_reader, "KEPT_READINGS", 2)
    with FaceReader(models) as reader:
        count = [reader.read(flat(level)) for level in (60, 70, 60, 80, 60, 70)]
    # 60 stays because it was asked for again; 70 had to go for 80
    assert [int(found.pose[2]) for found in count if found] == [1, 2, 1, 3, 1, 4]


def test_a_worker_that_dies_is_told_with_its_last_words(models: Path) -> None:
    with (
        FaceReader(models) as reader,
        pytest.raises(PortraitError, match="ended with exit code 7: it hurts"),
    ):
        reader.read(flat(255))


def test_an_environment_without_mediapipe_is_told_with_what_to_do(models: Path) -> None:
    face_reader.WORKER.write_text("raise SystemExit(3)")
    with pytest.raises(MissingToolError, match="has no MediaPipe; make an environment of its own"):
        FaceReader(models).__enter__()


def test_a_folder_without_the_landmarker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"want a folder with {LANDMARKER}, got none there"):
        FaceReader(tmp_path)


def test_the_interpreter_is_the_given_one_the_variables_or_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(face_reader.PYTHON_VARIABLE, raising=False)
    assert score_python() == Path(sys.executable)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    assert score_python(tmp_path) == python
    monkeypatch.setenv(face_reader.PYTHON_VARIABLE, str(python))
    assert score_python() == python
    with pytest.raises(InputError, match="want an environment with MediaPipe or its interpreter"):
        score_python(tmp_path / "nowhere")


def test_a_file_that_does_not_run_is_no_interpreter(models: Path) -> None:
    script = models / "python"
    script.touch()
    with pytest.raises(InputError, match="want a Python interpreter, got a file that does not run"):
        FaceReader(models, script).__enter__()


def landmarker_result(names: list[str]) -> SimpleNamespace:
    points = [SimpleNamespace(x=0.5, y=0.25)] * 478
    scores = [SimpleNamespace(category_name=name, score=0.5) for name in names]
    matrix = np.eye(4)
    matrix[:2, :2] = [[0, -1], [1, 0]]  # a quarter turn in the picture
    return SimpleNamespace(
        face_landmarks=[points], face_blendshapes=[scores], facial_transformation_matrixes=[matrix]
    )


def test_the_worker_answers_in_pixels_and_degrees() -> None:
    names = ["?"] * 52
    names[9], names[10], names[25] = "eyeBlinkLeft", "eyeBlinkRight", "jawOpen"
    angles = label_worker().head_angles
    reply = measured(landmarker_result(names), 256, angles)
    values = np.frombuffer(reply[1:], "<f4")
    assert reply[0] == 1
    assert values[:2].tolist() == [128, 64]
    assert values[956:1008].tolist() == [0.5] * 52
    assert values[1008:] == pytest.approx([0, 0, 90], abs=1e-4)
    assert measured(SimpleNamespace(face_landmarks=[]), 256, angles) == b"\x00"
    with pytest.raises(ValueError, match="want blendshapes"):
        measured(landmarker_result(["?"] * 52), 256, angles)


def points_at(template: Array) -> Array:
    """Return 478 points whose five that count lie on a template."""
    points = np.zeros((478, 2))
    points[[33, 133]], points[[362, 263]] = template[0], template[1]
    points[1], points[[61, 291]] = template[2], template[3:]
    return points


def test_a_face_is_aligned_whatever_its_place_and_size() -> None:
    y, x = np.mgrid[0:256, 0:256] / 8
    picture = (127 + 60 * np.sin(x)[..., None] + 60 * np.cos(y)[..., None]).repeat(3, 2)
    picture = picture.astype(np.uint8)
    got = align(picture, points_at(TEMPLATE + np.array([40, 60])))
    want = picture[60:172, 40:152]
    assert np.abs(got.astype(int) - want)[1:-1, 1:-1].mean() < 1  # a level: coordinates are float32


def test_identity_has_unit_length_and_ignores_mirroring(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["picture"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["vector"]),
        ],
        "identity",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 3])],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / IDENTITY)
    network = IdentityNetwork(tmp_path / IDENTITY)
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    one = network.embed(picture, points_at(TEMPLATE))
    assert np.linalg.norm(one) == pytest.approx(1)
    assert one @ network.embed(picture, points_at(TEMPLATE)) == pytest.approx(1)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / IDENTITY).write_bytes(b"no network")
    with pytest.raises(InputError, match="want a face-recognition network in ONNX"):
        IdentityNetwork(tmp_path / IDENTITY)


@pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is not None, reason="MediaPipe is in this environment"
)
def test_the_script_is_not_misled_by_the_files_beside_it() -> None:
    from pocketportrait.validation import face_worker

    command = [sys.executable, face_worker.__file__, "none.task"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert ran.returncode == face_worker.NO_MEDIAPIPE
    assert ran.stderr.strip() == b"No module named 'mediapipe'"
