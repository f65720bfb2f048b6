"""The process that decodes: what it may take, how it dies, and that nothing of it stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocketportrait import limits
from pocketportrait.errors import InputError
from pocketportrait.media.decoder import Decoder
from pocketportrait.media.photo import read_photo, write_picture
from pocketportrait.media.video import VideoReader, VideoWriter, plain_frames

pytestmark = pytest.mark.usefixtures("fresh_decoders")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    random = np.random.default_rng(0)
    with VideoWriter(path, (640, 480)) as writer:
        for _ in range(30):
            writer.write(random.integers(0, 256, (480, 640, 3), dtype=np.uint8))
    return path


def children() -> set[str]:
    """Return this process's children, those that ended and were not waited for too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc")
def test_no_process_stays(clip: Path) -> None:
    before = children()
    reader = VideoReader(clip)
    assert next(reader.frames()).index == 0  # broken off
    assert len(list(reader)) == 30
    del reader
    next(plain_frames(clip))
    with pytest.raises(InputError):
        read_photo(clip)
    assert children() == before


@pytest.mark.parametrize(
    ("limit", "name"), [("video_frames=9", "frames"), ("video_seconds=1", "seconds")]
)
def test_long_videos_are_refused_with_the_option(
    clip: Path, limit: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.VARIABLE, limit)
    with pytest.raises(InputError, match=rf"{name}, got .* --limit video_{name}=N"):
        VideoReader(clip)


def test_large_files_are_refused_unread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "video_bytes=9 photo_bytes=9")
    for read in (VideoReader, read_photo):
        with pytest.raises(InputError, match="want at most 9 bytes"):
            read(clip)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_a_decoder_that_wants_too_much_memory_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "a.png", np.zeros((3000, 3000, 3), np.uint8))
    monkeypatch.setenv(limits.VARIABLE, "decoder_bytes=40000000")
    with pytest.raises(InputError, match=r"memory|decoder died") as caught:
        read_photo(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_a_decoder_that_hangs_is_ended(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "decoder_seconds=1")
    decoder = Decoder("video", clip)
    os.kill(decoder._process.pid, signal.SIGSTOP)
    with pytest.raises(InputError, match=r"within 1 s, got none; .* --limit decoder_seconds=N"):
        decoder.answer()
    assert decoder._process.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_decoder_that_crashes_is_told_with_its_signal(clip: Path) -> None:
    others = children()
    reader = VideoReader(clip)
    frames = reader.frames()
    next(frames)
    for child in children() - others:
        os.kill(int(child), signal.SIGSEGV)
    with pytest.raises(InputError, match="its decoder died \\(SIGSEGV\\)"):
        list(frames)


def test_modules_beside_a_video_are_not_run(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('ran')")
    (tmp_path / "json.py").write_text("raise SystemExit('ran')")
    code = (
        "import sys; from pathlib import Path; from pocketportrait.media.video import VideoReader;"
    )
    code += "print(VideoReader(Path(sys.argv[1])).facts.num_frames)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, clip],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "30\n"


@pytest.mark.parametrize("setting", ["frames", "nonsense=3", "video_frames=0", "video_frames=-1"])
def test_wrong_limits_are_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(limits.VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"--limit: want NAME=NUMBER .* got"):
        limits.change([setting])
    assert limits.current() == limits.Limits()


def test_limits_are_raised_and_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, "video_frames=3")
    limits.change(["video_seconds=4", "video_frames=5"])
    assert (limits.current().video_frames, limits.current().video_seconds) == (5, 4)
