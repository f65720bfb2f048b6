"""`pocketportrait teacher check`, with kinds small enough to run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import read_photo, write_picture
from pocketportrait.media.video import VideoWriter
from pocketportrait.models.teachers import registry
from pocketportrait.models.teachers.golden import read_golden
from pocketportrait.models.teachers.protocol import Teacher


class Echo:
    """A teacher whose picture is the frame."""

    summary = "nothing to load"
    fingerprint = "echo"

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        yield from frames


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two kinds that borrow LivePortrait's golden file: one meets it, the other is a bit off."""

    def outputs(factor: float) -> Iterator[tuple[str, Array]]:
        for name, golden in read_golden("liveportrait").items():
            if np.prod(golden.shape) == golden.values.size:
                yield name, golden.values.reshape(golden.shape) * np.float32(factor)

    def open_echo(folder: Path, device: str) -> Teacher:
        return Echo()

    small = {name: g for name, g in read_golden("liveportrait").items() if g.values.size < 4096}
    monkeypatch.setattr("pocketportrait.models.teachers.check.read_golden", lambda _: small)

    def of_small(factor: float) -> Iterator[tuple[str, Array]]:
        return ((name, value) for name, value in outputs(factor) if name in small)

    monkeypatch.setitem(
        registry.KINDS,
        "right",
        registry.Kind(
            "right",
            "nothing",
            open_echo,
            lambda _: of_small(1.0),
            lambda: {"encoder": 2.0, "body": 5.0, "head": 1.5},
            once=("encoder",),
        ),
    )
    monkeypatch.setitem(
        registry.KINDS,
        "wrong",
        registry.Kind("wrong", "nothing", open_echo, lambda _: of_small(1.001)),
    )


@pytest.mark.usefixtures("kinds")
def test_a_right_teacher_passes_with_one_line_a_fact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "frame.png"
    code = main(["teacher", "check", "right", "--weights", str(tmp_path), "--out", str(picture)])
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert code == 0
    assert lines["loaded"] == "nothing to load"
    assert lines["golden"].startswith("passed, 29 of 29 outputs")
    assert lines["frame"].startswith("256x256")
    assert lines["cost"] == (
        "6.5 GFLOP (body 5.0, head 1.5) a frame, 2.0 GFLOP (encoder 2.0) a photo"
    )
    assert "MiB" in lines["memory"]
    assert read_photo(picture).shape == (256, 256, 3)


@pytest.mark.usefixtures("kinds")
def test_a_wrong_teacher_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "check", "wrong", "--weights", str(tmp_path)]) == 1
    assert "golden: FAILED, 29 of 29 outputs" in capsys.readouterr().out


def test_other_kinds_are_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "check", "magic", "--weights", "."]) == 2
    message = capsys.readouterr().err
    assert "teacher 'magic'" in message
    assert "liveportrait (" in message
    assert "recorded (" in message
    with pytest.raises(InputError, match="want one of those that exist"):
        registry.open_teacher("magic", Path())


def test_a_folder_without_checkpoints_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["teacher", "check", "liveportrait", "--weights", str(tmp_path)]) == 2
    assert "want appearance_feature_extractor.pth" in capsys.readouterr().err


def test_recordings_are_checked_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    write_picture(tmp_path / "photo.png", grey)
    for name in ("driver.mp4", "output.mp4"):
        with VideoWriter(tmp_path / name, (64, 64)) as writer:
            for index in range(3):
                writer.write(grey + np.uint8(20 * index))
    triple = {"photo": "photo.png", "driver": "driver.mp4", "output": "output.mp4"}
    manifest = {"schema_version": 1, "system": "x", "licence": "y", "triples": [triple]}
    (tmp_path / "triples.json").write_text(json.dumps(manifest))
    assert main(["teacher", "check", "recorded", "--weights", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "loaded: 1 recordings of 1 photos by x" in out
    assert "recordings: 3 frames" in out
    assert "cost: none, it plays recordings" in out
