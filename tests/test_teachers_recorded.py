"""Recordings of any system are a teacher: found by content, in order, and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import write_picture
from pocketportrait.media.video import VideoWriter
from pocketportrait.models.teachers.protocol import EncodingTeacher, Teacher
from pocketportrait.models.teachers.recorded import MANIFEST, RecordedTeacher

FRAMES = 6


def video(path: Path, levels: list[int], size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, size, lossless=True) as writer:
        for level in levels:
            frame = np.full((size[1], size[0], 3), level, np.uint8)
            frame[: size[1] // 2, :, 0] //= 2
            writer.write(frame)


def grey(level: int) -> Array:
    return np.full((64, 64, 3), level, np.uint8)


def write_manifest(
    folder: Path, triples: list[dict[str, Any]], changes: dict[str, Any] | None = None
) -> None:
    content = {"schema_version": 1, "system": "a closed one", "licence": "ours", "triples": triples}
    (folder / MANIFEST).write_text(json.dumps(content | (changes or {})))


TRIPLES: list[dict[str, Any]] = [
    {"photo": "photos/a.png", "driver": "drivers/one.mkv", "output": "outputs/a-one.mkv"},
    {"photo": "photos/a.png", "driver": "drivers/two.mkv", "output": "outputs/a-two.mkv"},
    {"photo": "photos/b.png", "driver": "drivers/one.mkv", "output": "outputs/b-one.mkv"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    write_picture(tmp_path / "photos" / "a.png", grey(10))
    write_picture(tmp_path / "photos" / "b.png", grey(20))
    video(tmp_path / "drivers/one.mkv", [40 + 10 * n for n in range(FRAMES)])
    video(tmp_path / "drivers/two.mkv", [45 + 10 * n for n in range(FRAMES)])
    video(tmp_path / "outputs/a-one.mkv", [100 + n for n in range(FRAMES)])
    video(tmp_path / "outputs/a-two.mkv", [120 + n for n in range(FRAMES)])
    video(tmp_path / "outputs/b-one.mkv", [140 + n for n in range(FRAMES)])
    write_manifest(tmp_path, TRIPLES)
    return tmp_path


def levels(pictures: list[Array]) -> list[int]:
    return [int(picture[-1, -1, 1]) for picture in pictures]


def test_each_pair_gives_its_own_recording(folder: Path) -> None:
    teacher = RecordedTeacher.open(folder)
    assert isinstance(teacher, Teacher)
    assert not isinstance(teacher, EncodingTeacher)
    for recording, first in zip(teacher.recordings, (100, 120, 140), strict=True):
        assert recording.check() == FRAMES
        pictures = list(teacher.animate(recording.photo(), recording.driver()))
        assert levels(pictures) == pytest.approx([first + n for n in range(FRAMES)], abs=1)
        assert {picture.shape for picture in pictures} == {(256, 256, 3)}


def test_frames_may_be_left_out_but_not_reordered(folder: Path) -> None:
    teacher = RecordedTeacher.open(folder)
    recording = teacher.recordings[0]
    frames = list(recording.driver())
    got = list(teacher.animate(recording.photo(), [frames[1], frames[4]]))
    assert levels(got) == pytest.approx([101, 104], abs=1)
    with pytest.raises(InputError, match=r"frame 1: want a later frame of drivers/one\.mkv"):
        list(teacher.animate(recording.photo(), [frames[4], frames[1]]))


def test_equal_driving_frames_keep_their_own_outputs(folder: Path) -> None:
    video(folder / "drivers/one.mkv", [50] * FRAMES)
    recording = RecordedTeacher.open(folder).recordings[0]
    got = RecordedTeacher.open(folder).animate(recording.photo(), recording.driver())
    assert levels(list(got)) == pytest.approx([100 + n for n in range(FRAMES)], abs=1)


def test_unknown_photos_and_frames_are_refused(folder: Path) -> None:
    teacher = RecordedTeacher.open(folder)
    stranger = np.zeros((256, 256, 3), np.uint8)
    with pytest.raises(InputError, match="photo: want one of the recorded photos, got another"):
        next(teacher.animate(stranger, teacher.recordings[0].driver()))
    with pytest.raises(InputError, match=r"frame 0: .*drivers/one\.mkv, drivers/two\.mkv"):
        next(teacher.animate(teacher.recordings[0].photo(), [stranger]))
    with pytest.raises(InputError, match="want uint8"):
        next(teacher.animate(grey(10), teacher.recordings[0].driver()))


def test_names_do_not_matter_and_contents_do(folder: Path) -> None:
    before = RecordedTeacher.open(folder)
    photo, frames = before.recordings[0].photo(), list(before.recordings[0].driver())
    print_before = before.fingerprint
    (folder / "photos/a.png").rename(folder / "photos/renamed.png")
    write_manifest(folder, [TRIPLES[0] | {"photo": "photos/renamed.png"}])
    after = RecordedTeacher.open(folder)
    assert len(list(after.animate(photo, frames))) == FRAMES
    assert after.fingerprint != print_before
    again = RecordedTeacher.open(folder).fingerprint
    video(folder / "outputs/a-one.mkv", [101 + n for n in range(FRAMES)])
    assert RecordedTeacher.open(folder).fingerprint != again == after.fingerprint


def test_crops_make_squares_of_wide_files(folder: Path) -> None:
    video(folder / "outputs/wide.mkv", [100 + n for n in range(FRAMES)], (96, 64))
    write_manifest(folder, [TRIPLES[0] | {"output": "outputs/wide.mkv"}])
    recording = RecordedTeacher.open(folder).recordings[0]
    with pytest.raises(InputError, match=r"wide\.mkv: want a square picture, or a crop .* 96x64"):
        recording.check()
    write_manifest(
        folder, [TRIPLES[0] | {"output": "outputs/wide.mkv", "output_crop": [16, 0, 64]}]
    )
    assert RecordedTeacher.open(folder).recordings[0].check() == FRAMES


def test_an_output_shorter_than_its_driver_is_refused(folder: Path) -> None:
    video(folder / "outputs/a-one.mkv", [100, 101])
    teacher = RecordedTeacher.open(folder)
    recording = teacher.recordings[0]
    with pytest.raises(InputError, match=r"a-one\.mkv: want 6 frames, .* got 2"):
        recording.check()
    with pytest.raises(InputError, match="got fewer"):
        list(teacher.animate(recording.photo(), recording.driver()))


def test_missing_manifest_and_files_are_named(folder: Path) -> None:
    (folder / "outputs/b-one.mkv").unlink()
    with pytest.raises(InputError, match=r"b-one\.mkv: want a recording, got no such file"):
        RecordedTeacher.open(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(InputError, match=r"triples\.json: want a manifest, got no such file"):
        RecordedTeacher.open(folder)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "photos/../../x.png"])
def test_paths_stay_inside_the_folder(folder: Path, name: str) -> None:
    write_manifest(folder, [TRIPLES[0] | {"photo": name}])
    with pytest.raises(InputError, match="want paths inside the folder"):
        RecordedTeacher.open(folder)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"triples": []}, "triples"),
        ({"system": ""}, "system"),
        ({"more": 1}, "more"),
        ({"triples": [TRIPLES[0] | {"photo_crop": [0, 0, 0]}]}, r"triples\.0\.photo_crop\.2"),
    ],
)
def test_other_manifests_are_refused_by_place(
    folder: Path, changes: dict[str, Any], place: str
) -> None:
    write_manifest(folder, TRIPLES, changes)
    with pytest.raises(InputError, match=f"got at {place}"):
        RecordedTeacher.open(folder)


def test_a_manifest_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="mend that line"):
        RecordedTeacher.open(folder)
