"""Calibration sets: coverage, hashes, and what must never be calibrated on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.media.video import VideoWriter
from pocketportrait.quantize.calibration import (
    CalibrationFrame,
    CalibrationSet,
    calibration_feeds,
    check_feed,
    choose_set,
    k_centre,
    load_pictures,
    read_set,
    refuse_scored,
    scored_hashes,
)

FRAME = CalibrationFrame(clip="a.mp4", sha256="0" * 64, frame=3)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        random = np.random.default_rng(number)
        with VideoWriter(folder / f"{number}.mp4", (64, 64), threads=1) as writer:
            for _ in range(14):
                coarse = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                writer.write(coarse.repeat(8, 0).repeat(8, 1))
    return tmp_path


def test_k_centre_takes_the_rare_before_the_usual() -> None:
    codes = np.zeros((20, 2))
    codes[:, 0] = np.linspace(0, 0.1, 20)
    codes[7] = (0, 5)
    assert k_centre(codes, 2)[1] == 7
    assert sorted(k_centre(codes, 50)) == list(range(20))


def test_a_set_is_written_and_read(tmp_path: Path) -> None:
    chosen = CalibrationSet(name="train", folder="clips", frames=(FRAME,))
    chosen.write(tmp_path / "set.json")
    assert read_set(tmp_path / "set.json") == chosen


def test_an_empty_or_missing_set_is_refused(tmp_path: Path) -> None:
    empty = {"schema_version": 1, "name": "x", "folder": "y", "frames": []}
    (tmp_path / "set.json").write_text(json.dumps(empty))
    with pytest.raises(InputError, match="frames"):
        read_set(tmp_path / "set.json")
    with pytest.raises(InputError, match="want a calibration set"):
        read_set(tmp_path / "none.json")


def test_scored_clips_are_known_by_their_hash(tmp_path: Path) -> None:
    listing = {"clips": [{"sha256": "a", "split": "val"}, {"sha256": "b", "split": "train"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(listing))
    assert scored_hashes(tmp_path / "val" / "clips") == {"a"}
    with pytest.raises(InputError, match=r"1 of the val split \(renamed.mp4\)"):
        refuse_scored([("renamed.mp4", "a"), ("other.mp4", "b")], {"a"})


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "NaN"), (np.inf, "infinity"), (0.25, "0.25 everywhere")],
)
def test_spoilt_tensors_are_refused(value: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_feed({"photo": np.full((1, 3, 4, 4), value, np.float32)}, "a.mp4 frame 3")


def test_an_empty_folder_is_refused(tmp_path: Path, tiny_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="want clips"):
        choose_set(tiny_bundle, tmp_path)


def test_a_set_is_chosen_and_its_clips_are_checked(clips: Path, tiny_bundle: Bundle) -> None:
    chosen = choose_set(tiny_bundle, clips, count=3, every=4)
    assert len(chosen.frames) == 3
    pictures = load_pictures(chosen, None, 64)
    feeds = calibration_feeds(tiny_bundle, pictures)
    assert {graph: len(found) for graph, found in feeds.items()} == {
        "appearance": 3,
        "motion": 3,
        "render": 3,
    }
    clip = clips / chosen.frames[0].clip
    scored = {sha256_of(clip)}
    with pytest.raises(InputError, match="nothing is scored on"):
        choose_set(tiny_bundle, clips, scored=scored)
    with pytest.raises(InputError, match="nothing is scored on"):
        load_pictures(chosen, None, 64, scored)
    clip.write_bytes(clip.read_bytes() + b"\0")
    with pytest.raises(InputError, match="sha256 is not the listed one"):
        load_pictures(chosen, None, 64)


def test_a_chosen_set_is_written_and_taken_again(
    clips: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """By `--calibration`, and by a recipe that names it; the bundles say that it is the same set."""
    written = tmp_path / "sets" / "chosen.json"
    written.parent.mkdir()
    recipe = tmp_path / "sets" / "own.toml"
    recipe.write_text(
        'name = "own"\nscheme = "w8a8"\ncalibration = "chosen.json"\n'
        '[[rules]]\ngraph = "render"\nscheme = "fp32"\n'
        '[[rules]]\nop = "linear"\nscheme = "w8"\n'
    )
    arguments = ["quantize", str(tiny_bundle.root), "-r", str(recipe), "-f", "onnx", "-o"]
    more = ["--calibration", str(clips), "--write-set", str(written)]
    assert main([*arguments, str(tmp_path / "first"), *more]) == 0
    assert read_set(written).folder == ".."  # where the set lies may be moved with its clips
    assert main([*arguments, str(tmp_path / "second")]) == 0
    digests = []
    for name in ("first", "second"):
        with Bundle.open(tmp_path / name) as bundle:
            digests.append(bundle.variant("onnx", "own").quantization["calibration"]["digest"])
    assert digests == [read_set(written).digest] * 2
    assert main([*arguments, str(tmp_path / "third"), "-r", "w8", *more]) == 2  # nothing to write
