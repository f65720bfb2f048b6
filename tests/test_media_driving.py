from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import crop_for_face
from pocketportrait.media.detector import CenterFaceDetector
from pocketportrait.media.driving import CameraCrop, find_crop
from pocketportrait.media.face import FaceBox
from pocketportrait.media.framing import FaceTracks, find_photo_crop
from pocketportrait.media.samples import samples_folder
from pocketportrait.media.video import VideoReader, VideoWriter

SIZE = (320, 240)
FACE = FaceBox(120, 60, 200, 160)
BEHIND = FaceBox(10, 20, 40, 60)


class Script:
    """A detector that says what it is told for each look."""

    def __init__(self, faces: Callable[[int], list[FaceBox]]) -> None:
        self.looks = 0
        self._faces = faces

    def detect(self, rgb: Array) -> list[FaceBox]:
        self.looks += 1
        return self._faces(self.looks - 1)


def video(path: Path, num_frames: int) -> Path:
    with VideoWriter(path, SIZE) as writer:
        for index in range(num_frames):
            writer.write(np.full((SIZE[1], SIZE[0], 3), index * 5 % 256, np.uint8))
    return path


def photo() -> Array:
    return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def test_a_photo_without_a_face_suggests_no_crop() -> None:
    with pytest.raises(InputError, match=r"me\.jpg: want a photo with a face.*--no-crop"):
        find_photo_crop(photo(), Script(lambda _: []), "me.jpg")


def test_several_faces_in_a_photo_are_said() -> None:
    found = find_photo_crop(photo(), Script(lambda _: [FACE, BEHIND]), "me.jpg")
    assert found.crop == crop_for_face(FACE, SIZE)
    assert found.num_faces == 2
    assert found.notes == ("me.jpg: 2 faces; the largest is used",)


def test_a_small_face_is_said() -> None:
    found = find_photo_crop(photo(), Script(lambda _: [BEHIND]), "me.jpg")
    assert "fills only" in found.notes[0]


def test_every_fifth_frame_is_looked_at_and_the_median_is_used(tmp_path: Path) -> None:
    jitter = [FaceBox(120 + d, 60, 200 + d, 160) for d in (-1, 0, 1)]
    detector = Script(lambda look: [jitter[look % 3]])
    found = find_crop(video(tmp_path / "a.mp4", 31), detector)
    assert detector.looks == 7
    assert found.crop == crop_for_face(FACE, SIZE)
    assert found.num_faces == 1
    assert found.notes == ()


def test_a_video_without_a_face_suggests_no_crop(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got none in 3 frames.*--no-crop"):
        find_crop(video(tmp_path / "a.mp4", 11), Script(lambda _: []))


def test_a_face_that_is_seldom_seen_is_said(tmp_path: Path) -> None:
    detector = Script(lambda look: [FACE] if look == 1 else [])
    found = find_crop(VideoReader(video(tmp_path / "a.mp4", 20)), detector)
    assert found.crop == crop_for_face(FACE, SIZE)
    assert "only 1 of 4 frames" in found.notes[0]


def test_two_people_do_not_share_a_crop(tmp_path: Path) -> None:
    # whoever is larger changes from look to look; the one who fills more over time is framed
    left, right = FaceBox(20, 60, 100, 160), FaceBox(200, 60, 280, 160)
    near = FaceBox(15, 50, 105, 165)
    detector = Script(lambda look: [near, right] if look % 3 else [right, left])
    found = find_crop(video(tmp_path / "a.mp4", 60), detector)
    assert found.num_faces == 2
    assert found.crop.x + found.crop.side / 2 < 120


def test_tracks_follow_a_head_and_survive_a_gap() -> None:
    tracks = FaceTracks()
    for step in range(30):
        moved = FaceBox(5.0 * step, 0, 5.0 * step + 100, 100)
        tracks.add([] if step % 4 == 3 else [moved])
    assert len(tracks.main()) == 23
    assert FaceTracks().main() == []


def test_a_camera_fixes_its_crop_after_the_first_second() -> None:
    detector = Script(lambda look: [FaceBox(120 + look, 60, 200 + look, 160)])
    camera = CameraCrop(detector)
    crops = [camera.update(photo(), index / 10) for index in range(30)]
    assert None not in crops
    assert crops[3] != crops[9]
    assert detector.looks == 11
    assert all(crop == crops[10] for crop in crops[10:])


def test_a_camera_waits_for_the_first_face() -> None:
    camera = CameraCrop(Script(lambda look: [FACE] if look >= 20 else []))
    crops = [camera.update(photo(), index / 10) for index in range(40)]
    assert crops[:20] == [None] * 20
    assert camera.fixed
    assert camera.crop == crop_for_face(FACE, SIZE)


def test_the_shipped_clips_keep_their_framing() -> None:
    detector = CenterFaceDetector()
    for name in ("driving_london_024.mp4", "driving_london_114.mp4"):
        found = find_crop(samples_folder() / name, detector, every=20)
        assert found.num_faces == 1
        assert found.crop.side == pytest.approx(256, rel=0.1)  # they were cut by the same framing
        assert abs(found.crop.x) < 20
        assert abs(found.crop.y) < 20
