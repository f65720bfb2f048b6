from pathlib import Path

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.identity import (
    TEMPLATE,
    FaceEmbedder,
    divide,
    find_model,
    people_by_face,
    similarity,
)
from pocketportrait.errors import InputError
from pocketportrait.media.detector import CenterFaceDetector
from pocketportrait.media.photo import read_photo
from pocketportrait.media.resample import resample
from pocketportrait.media.samples import samples_folder


def unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def crop(name: str) -> Array:
    photo = read_photo(samples_folder() / name)
    return resample(photo, (0, 0, photo.shape[1], photo.shape[0]), (256, 256))


@pytest.fixture(scope="module")
def colour_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows people by the mean colour of their faces."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["input0"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["code"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("input0", kind, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("code", kind, [1, 3])],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    path = tmp_path_factory.mktemp("score") / "MobileFaceNet.onnx"
    onnx.save(model, path)
    return path


def test_points_come_from_left_to_right_and_from_top_to_bottom() -> None:
    points = CenterFaceDetector().points(crop("photo_cc0_man.jpg"))
    assert points is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    # the framing puts the face there
    assert np.abs(points.mean(axis=0) - (128, 148)).max() < 20


def test_embeddings_have_length_one_and_see_the_aligned_face(colour_network: Path) -> None:
    embedder = FaceEmbedder(colour_network, CenterFaceDetector())
    photo = crop("photo_cc0_man.jpg")
    code = embedder.embed(np.stack([photo, photo]))
    assert code is not None
    assert np.linalg.norm(code) == pytest.approx(1)
    moved = embedder.embed(np.roll(photo, (9, -7), axis=(0, 1))[None])
    green = embedder.embed(np.stack([photo // [3, 1, 3]]).astype(np.uint8))
    assert moved is not None
    assert green is not None
    assert code @ moved > 0.99  # the wall behind the face moved, the aligned face did not
    assert code @ green < 0.9


def test_pictures_without_a_face_have_no_embedding(colour_network: Path) -> None:
    embedder = FaceEmbedder(colour_network, CenterFaceDetector())
    assert embedder.embed(np.full((2, 256, 256, 3), 127, np.uint8)) is None


def test_alignment_undoes_turn_scale_and_shift() -> None:
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    seen = (TEMPLATE - 20) @ turn.T + [30, 50]
    matrix = similarity(seen, TEMPLATE)
    back = np.column_stack([seen, np.ones(5)]) @ matrix.T
    assert np.abs(back - TEMPLATE).max() < 1e-3


def test_clips_of_one_face_are_one_person() -> None:
    rng = np.random.default_rng(0)
    faces = unit(rng.normal(size=(3, 128)))
    noise = rng.normal(size=(9, 128)) * 0.03
    people = people_by_face(unit(np.repeat(faces, 3, axis=0) + noise), 0.52)
    assert len(set(people)) == 3
    assert people[0] == people[1] == people[2]
    assert people_by_face(faces[:1], 0.52) == [0]


def test_people_are_divided_whole_and_always_alike() -> None:
    names = [f"clip{k}" for k in range(40)]
    people = [k // 4 for k in range(40)]
    val = divide(names, people, 0.2)
    assert len(val) == 2
    assert divide(names[::-1], people[::-1], 0.2) == val


@pytest.mark.parametrize(
    ("num_people", "share", "in_val"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (5, 0, 0), (0, 0.1, 0)]
)  # fmt: skip
def test_small_sets_keep_somebody_on_both_sides(num_people: int, share: float, in_val: int) -> None:
    people = list(range(num_people))
    assert len(divide([str(p) for p in people], people, share)) == in_val


def test_a_new_video_moves_few_people() -> None:
    names = [f"clip{k}" for k in range(100)]
    before = divide(names, names, 0.1)
    after = divide([*names, "another"], [*names, "another"], 0.1)
    assert len(before ^ after) <= 2


def test_a_folder_without_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"MobileFaceNet\.onnx, got none there; name another"):
        find_model(tmp_path)
