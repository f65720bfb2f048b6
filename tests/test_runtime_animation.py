from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import cut
from pocketportrait.media.face import FaceBox
from pocketportrait.media.framing import find_photo_crop
from pocketportrait.media.photo import read_photo, write_picture
from pocketportrait.media.video import VideoReader, VideoWriter
from pocketportrait.runtime import animation
from pocketportrait.runtime.animation import AnimationOptions, animate, default_bundle
from pocketportrait.runtime.session import Session

TIMES = [0, 1, 2, 5, 6, 9]  # pts: an uneven frame rate


class Faces:
    """A detector that sees what it is told to."""

    def __init__(self, *boxes: FaceBox) -> None:
        self.boxes = list(boxes)

    def detect(self, rgb: Array) -> list[FaceBox]:
        return self.boxes


FACE = FaceBox(60, 30, 110, 90)


def pixels(picture: Array) -> Array:
    return np.rint(picture * 255).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path, tiny_pairs: list[tuple[Array, Array]]) -> Path:
    write_picture(tmp_path / "photo.png", pixels(tiny_pairs[0][0]))
    return tmp_path / "photo.png"


@pytest.fixture
def wide_photo(tmp_path: Path) -> Path:
    smooth = np.add.outer(np.arange(120), np.arange(177))[..., None] * np.array([0.8, 0.5, 0.3])
    write_picture(tmp_path / "wide.png", smooth.astype(np.uint8))
    return tmp_path / "wide.png"


@pytest.fixture
def driving(tmp_path: Path, tiny_pairs: list[tuple[Array, Array]]) -> Path:
    path = tmp_path / "driving.mp4"
    frame, other = pixels(tiny_pairs[0][1]), pixels(tiny_pairs[1][0])
    with VideoWriter(path, (64, 64), lossless=True) as writer:
        for index, pts in enumerate(TIMES):
            writer.write(other if index % 3 else frame, pts)
    return path


def ready(bundle: Bundle, **changed: object) -> AnimationOptions:
    return AnimationOptions(bundle=bundle.root, crop=False, lossless=True, threads=1, **changed)  # type: ignore[arg-type]


def test_the_video_holds_what_a_session_gives_at_the_drivers_times(
    tiny_bundle: Bundle, photo: Path, driving: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int | None]] = []
    report = animate(
        photo,
        driving,
        tmp_path / "out.mp4",
        ready(tiny_bundle),
        progress=lambda *step: told.append(step),
    )
    with Session.open(tiny_bundle, threads=1) as session:
        session.set_photo(read_photo(photo))
        want = list(session.animate(frame.rgb for frame in VideoReader(driving)))
    reader = VideoReader(tmp_path / "out.mp4")
    got = list(reader)
    assert [round(frame.time_s * 25) for frame in got] == TIMES
    for frame, picture in zip(got, want, strict=True):
        np.testing.assert_array_equal(frame.rgb, picture)
    assert told[-1] == (6, 6)
    assert (report.frames, report.variant, report.runner, report.emulated) == (
        6,
        "onnx/fp32",
        "onnxruntime",
        False,
    )
    assert [report.timings[graph].passes for graph in ("appearance", "motion", "render")] == [
        1,
        7,
        6,
    ]
    assert 0 < report.frame_ms < 1000
    assert report.warnings == ()


def test_the_report_is_json(
    tiny_bundle: Bundle, photo: Path, driving: Path, tmp_path: Path
) -> None:
    options = ready(
        tiny_bundle, format="coreml", precision="fp16", runner="oracle", motion="absolute"
    )
    report = animate(photo, driving, tmp_path / "out.mp4", options)
    report.to_json(tmp_path / "report.json")
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["schema_version"] == 1
    assert facts["emulated"] is True
    assert (facts["variant"], facts["motion"]) == ("coreml/fp16", "absolute")
    assert facts["photo_crop"] == {"x_px": 0, "y_px": 0, "side_px": 64, "num_faces": 0}


def test_the_full_frame_changes_nothing_outside_the_crop(
    tiny_bundle: Bundle, wide_photo: Path, driving: Path, tmp_path: Path
) -> None:
    options = AnimationOptions(bundle=tiny_bundle.root, full_frame=True, lossless=True, threads=1)
    report = animate(wide_photo, driving, tmp_path / "out.mp4", options, detector=Faces(FACE))
    whole = read_photo(wide_photo)
    crop = find_photo_crop(whole, Faces(FACE), "wide").crop
    assert (report.photo_crop.x_px, report.photo_crop.side_px) == (crop.x, crop.side)
    inside = np.zeros(whole.shape[:2], bool)
    x, y, side = (round(value) for value in (crop.x, crop.y, crop.side))
    inside[max(y - 1, 0) : y + side + 1, max(x - 1, 0) : x + side + 1] = True
    assert not inside.all()
    frames = [frame.rgb for frame in VideoReader(tmp_path / "out.mp4")]
    assert frames[0].shape == whole.shape
    for frame in frames:
        np.testing.assert_array_equal(frame[~inside], whole[~inside])
    changed = cut(frames[0], crop, 64).astype(int) - cut(whole, crop, 64)
    assert np.abs(changed).max() > 5


def test_several_faces_and_pictures_that_are_not_square_are_said(
    tiny_bundle: Bundle, wide_photo: Path, driving: Path, tmp_path: Path
) -> None:
    two = Faces(FACE, FaceBox(5, 5, 20, 25))
    options = AnimationOptions(bundle=tiny_bundle.root, threads=1)
    report = animate(wide_photo, driving, tmp_path / "out.mp4", options, detector=two)
    assert any("wide.png: 2 faces; the largest is used" in warning for warning in report.warnings)
    report = animate(wide_photo, driving, tmp_path / "out.mp4", ready(tiny_bundle))
    assert report.warnings == (f"{wide_photo}: not square (177x120); its centred square is used",)


def test_a_photo_without_a_face_leaves_the_old_output(
    tiny_bundle: Bundle, wide_photo: Path, driving: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "old.mp4"
    out.parent.mkdir()
    out.write_bytes(b"old")
    options = AnimationOptions(bundle=tiny_bundle.root, threads=1)
    with pytest.raises(InputError, match=r"want a photo with a face.*--no-crop"):
        animate(wide_photo, driving, out, options, detector=Faces())
    assert out.read_bytes() == b"old"
    assert list(out.parent.iterdir()) == [out]


def test_a_damaged_video_gives_what_could_be_decoded(
    tiny_bundle: Bundle, photo: Path, driving: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.mkv"
    with VideoWriter(damaged, (64, 64), lossless=True) as writer:
        for frame in [frame.rgb for frame in VideoReader(driving)] * 20:
            writer.write(frame)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 2 // 3])
    report = animate(photo, damaged, tmp_path / "out.mp4", ready(tiny_bundle))
    assert 0 < report.frames < 120
    assert len(list(VideoReader(tmp_path / "out.mp4"))) == report.frames
    assert any("frames were decoded and kept" in warning for warning in report.warnings)


@pytest.mark.parametrize("name", ["photo.png", "driving.mp4"])
def test_an_input_is_never_overwritten(
    tiny_bundle: Bundle, photo: Path, driving: Path, tmp_path: Path, name: str
) -> None:
    before = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match="want another file than the one that is read"):
        animate(photo, driving, tmp_path / name, ready(tiny_bundle))
    assert (tmp_path / name).read_bytes() == before


def test_a_place_that_cannot_be_written_to_fails_before_faces_are_searched(
    tiny_bundle: Bundle, wide_photo: Path, driving: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")

    class Never:
        def detect(self, rgb: Array) -> list[FaceBox]:
            raise AssertionError("searched for faces")

    options = AnimationOptions(bundle=tiny_bundle.root)
    with pytest.raises(InputError, match="want a writable place"):
        animate(wide_photo, driving, tmp_path / "file" / "out.mp4", options, detector=Never())


def test_without_arguments_the_samples_perform(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "default_bundle", lambda: tiny_bundle.root)
    report = animate(None, None, tmp_path / "out.mp4", AnimationOptions(threads=1))
    assert Path(report.photo).parent.name == "samples"
    assert report.photo_crop.num_faces == report.driving_crop.num_faces == 0  # framed already
    assert report.frames == len(list(VideoReader(tmp_path / "out.mp4")))


def test_a_missing_default_bundle_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation.resources, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match="give one with --bundle"):
        default_bundle()
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "default_bundle.zip").write_bytes(b"")
    assert default_bundle().name == "default_bundle.zip"


def test_the_first_precision_is_taken_where_there_is_no_fp32(
    tiny_bundle: Bundle, photo: Path, driving: Path, tmp_path: Path
) -> None:
    manifest = tiny_bundle.manifest
    half = manifest.model_copy(
        update={"variants": {"onnx": {"fp16": manifest.variants["onnx"]["fp16"]}}}
    )
    folder = tmp_path / "half"
    shutil.copytree(tiny_bundle.root, folder)
    (folder / "manifest.json").write_bytes(half.to_bytes())
    options = AnimationOptions(bundle=folder, crop=False, threads=1)
    assert animate(photo, driving, tmp_path / "out.mp4", options).variant == "onnx/fp16"
    with pytest.raises(InputError, match="tflite/fp32: not in this bundle; it holds onnx/fp16"):
        animate(
            photo, driving, tmp_path / "out.mp4", AnimationOptions(bundle=folder, format="tflite")
        )
