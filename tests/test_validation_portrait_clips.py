"""Which clips are scored, how their frames are read, and who performs whom."""

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
from pocketportrait.validation.portrait_actors import RecordedActor
from pocketportrait.validation.portrait_clips import Clip, HeldOut, choose_pairs, fit, frames_of


def write(path: Path, frames: list[Array]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with VideoWriter(path, (width, height), lossless=True) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def noise(count: int, height: int = 64, width: int = 64, seed: int = 0) -> list[Array]:
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    return list(frames)


def listed(folder: Path, clips: list[dict[str, Any]], photos: tuple[Any, ...] = ()) -> Path:
    for clip in clips:
        write(folder / clip["file"], noise(2))
    for photo in photos:
        write_picture(folder / photo["file"], noise(1)[0])
    (folder / "manifest.json").write_text(json.dumps({"clips": clips, "photos": photos}))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    clips = [
        {"file": "train/clips/a.mkv", "split": "train", "identity": "1", "origin": "footage"},
        {"file": "val/clips/b.mkv", "split": "val", "identity": "2", "origin": "footage"},
        {"file": "val/clips/c.mkv", "split": "val", "identity": "3", "origin": "drawn"},
    ]
    photos = ({"file": "val/p.png", "split": "val", "identity": "2"},)
    return listed(tmp_path / "data", clips, photos)


def names(held_out: HeldOut) -> list[str]:
    return [clip.name for clip in held_out.clips]


def test_a_manifest_says_what_is_held_out(data: Path) -> None:
    assert names(HeldOut.read(data)) == ["b", "c"]
    assert names(HeldOut.read(data, split="all")) == ["a", "b", "c"]
    assert names(HeldOut.read(data, origin="footage")) == ["b"]
    assert [photo.name for photo in HeldOut.read(data).photos] == ["p"]


def test_a_folder_below_the_manifest_holds_its_own_clips(data: Path) -> None:
    assert names(HeldOut.read(data / "val", split="all")) == ["b", "c"]


def test_a_folder_of_videos_needs_no_manifest(data: Path) -> None:
    (data / "manifest.json").unlink()
    assert names(HeldOut.read(data / "val")) == ["b", "c"]
    assert names(HeldOut.read(data / "val" / "clips")) == ["b", "c"]


def test_clips_come_in_the_order_of_their_names(data: Path) -> None:
    held_out = HeldOut.read(data)
    assert names(held_out.only(["c", "b", "c"])) == ["c", "b"]
    with pytest.raises(InputError, match=r"want clips such as b, c, got nobody; check --clips"):
        held_out.only(["nobody"])


def test_what_cannot_be_scored_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match="want a folder with clips, got none"):
        HeldOut.read(data / "nowhere")
    with pytest.raises(InputError, match=r"got none; check --data, --split and --origin"):
        HeldOut.read(data, split="test")
    (data / "val/clips/b.mkv").unlink()
    with pytest.raises(InputError, match=r"b\.mkv: want a video, got no such file"):
        HeldOut.read(data)
    for broken in ("{", '{"clips": [{}]}', '{"clips": [{"file": "../b.mkv"}]}'):
        (data / "manifest.json").write_text(broken)
        with pytest.raises(InputError, match=r"manifest\.json: want JSON with clips"):
            HeldOut.read(data)


def test_frames_of_a_lossless_clip_come_back_to_the_last_bit(tmp_path: Path) -> None:
    frames = noise(3)
    got = list(frames_of(write(tmp_path / "clip.mkv", frames)))
    np.testing.assert_array_equal(got, frames)


def test_a_clip_that_was_not_framed_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "wide.mkv", noise(1, 64, 128))
    with pytest.raises(InputError, match="want square pictures framed on a face, got 128x64"):
        list(frames_of(path))


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"clip\.mp4: want a video"):
        list(frames_of(tmp_path / "clip.mp4"))


def test_pictures_of_another_side_are_resized() -> None:
    picture = noise(1)[0]
    assert fit(picture, 64) is picture
    small = fit(picture, 32)
    assert small[0, 0].astype(int) == pytest.approx(picture[:2, :2].mean(axis=(0, 1)), abs=1)
    assert fit(small, 256).shape == (256, 256, 3)


def test_pairs_are_of_different_people_and_always_the_same() -> None:
    drivers = [Clip(name, Path(name), identity) for name, identity in (("a", "1"), ("b", "2"))]
    people = [Clip(f"p{k}", Path(f"p{k}"), str(k % 3)) for k in range(6)]
    pairs = choose_pairs(drivers, people, 6)
    assert [driver.name for driver, _ in pairs] == ["a", "b"] * 3
    assert all(driver.identity != photo.identity for driver, photo in pairs)
    assert len({(driver.name, photo.name) for driver, photo in pairs}) == 6
    assert choose_pairs(drivers, people[::-1], 6) == pairs
    assert len(choose_pairs(drivers, people, 100)) == 8


def test_a_driver_does_not_perform_its_own_first_frame_across_people() -> None:
    clips = [Clip("a", Path("a")), Clip("b", Path("b"))]
    assert [(d.name, p.name) for d, p in choose_pairs(clips, clips, 9)] == [("a", "b"), ("b", "a")]


def test_recordings_are_compared_as_long_as_both_last(tmp_path: Path) -> None:
    driver = Clip("b", write(tmp_path / "data/b.mkv", noise(5)))
    write(tmp_path / "drawn/b.mkv", noise(3, seed=1))
    actor = RecordedActor(tmp_path / "drawn", [driver])
    assert len(list(actor.perform(noise(1)[0], driver, None))) == 3
    assert actor.warnings == ["b: the recording ends first; 3 frames are compared"]
    actor.warnings.clear()
    assert len(list(actor.perform(noise(1)[0], driver, 2))) == 2
    assert actor.warnings == []


def test_a_clip_without_its_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    with pytest.raises(InputError, match=r"got none for b \(1 of 1\); name those that you have"):
        RecordedActor(tmp_path / "drawn", [Clip("b", tmp_path / "b.mkv")])
