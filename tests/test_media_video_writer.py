import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.sound_decoding import copy_sound
from pocketportrait.media.video import VideoReader, VideoWriter

WIDTH, HEIGHT = 64, 48


def noise(index: int, height: int = HEIGHT, width: int = WIDTH) -> Array:
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def talking(path: Path, codec: str, *, video: str = "libx264", start_s: int = 0) -> Path:
    """Make 2 s of pictures with sound; both begin at `start_s`."""
    tone = (np.sin(np.arange(1764) * 0.05) * 8000).astype(np.int16)[None]
    with av.open(str(path), "w") as output:
        pictures = output.add_stream(video, rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"  # type: ignore[union-attr]
        sound = output.add_stream(codec, rate=44100)
        sound.layout = "mono"  # type: ignore[union-attr]
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(noise(index % 3), "rgb24")
            frame.pts, frame.time_base = index + 25 * start_s, Fraction(1, 25)
            output.mux(pictures.encode(frame))  # type: ignore[union-attr]
            wave = av.AudioFrame.from_ndarray(tone, "s16", "mono")
            wave.sample_rate, wave.pts = 44100, index * 1764 + 44100 * start_s
            wave.time_base = Fraction(1, 44100)
            output.mux(sound.encode(wave))  # type: ignore[union-attr]
        output.mux(pictures.encode(None))  # type: ignore[union-attr]
        output.mux(sound.encode(None))  # type: ignore[union-attr]
    return path


def sound_of(path: Path) -> tuple[float, list[bytes]]:
    """Return the second at which the sound begins, and its packets."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        assert packets[0].pts is not None
        return float(packets[0].pts * packets[0].time_base), [bytes(packet) for packet in packets]


def copied(source: Path, target: Path) -> VideoWriter:
    reader = VideoReader(source)
    with reader.writer(target, (WIDTH, HEIGHT)) as writer:
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
    return writer


def test_output_is_h264_yuv420p_with_the_index_first(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, (WIDTH, HEIGHT)) as writer:
        for index in range(5):
            writer.write(noise(index))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.frames == 5
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_lossless_keeps_every_value_and_odd_sizes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with VideoWriter(path, (65, 47), lossless=True) as writer:
        for index in range(4):
            writer.write(noise(index, 47, 65))
    for frame in VideoReader(path):
        np.testing.assert_array_equal(frame.rgb, noise(frame.index, 47, 65))


def test_odd_sizes_are_padded_for_players(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (65, 47)) as writer:
        writer.write(noise(0, 47, 65))
    facts = VideoReader(tmp_path / "a.mp4").facts
    assert (facts.width, facts.height) == (66, 48)


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [
        ("a.mp4", "b.mp4", "aac"),
        ("a.mkv", "b.mp4", "aac"),
        ("a.mkv", "b.mkv", "flac"),
        ("a.mov", "b.mov", "aac"),
    ],
)
def test_sound_is_copied_byte_for_byte(
    tmp_path: Path, source: str, target: str, codec: str
) -> None:
    talking(tmp_path / source, codec)
    writer = copied(tmp_path / source, tmp_path / target)
    assert writer.note is None
    before, after = sound_of(tmp_path / source), sound_of(tmp_path / target)
    assert after[1] == before[1]
    shift = float(VideoReader(tmp_path / target).facts.start)  # Matroska has no time before zero
    assert after[0] - shift == pytest.approx(before[0], abs=0.015)


def test_sound_stays_in_step_when_the_source_starts_late(tmp_path: Path) -> None:
    talking(tmp_path / "a.mp4", "aac", start_s=3)
    copied(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert float(VideoReader(tmp_path / "b.mp4").facts.start) == 0
    assert sound_of(tmp_path / "b.mp4")[0] == pytest.approx(0, abs=0.03)


def test_sound_ends_with_the_pictures(tmp_path: Path) -> None:
    reader = VideoReader(talking(tmp_path / "a.mp4", "aac"))
    with reader.writer(tmp_path / "b.mp4", (WIDTH, HEIGHT)) as writer:
        for frame in reader:
            if frame.index == 10:
                break
            writer.write(frame.rgb, frame.pts)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(0.4 + 0.5, abs=0.1)


def test_sound_that_the_container_cannot_hold_is_said(tmp_path: Path) -> None:
    source = talking(tmp_path / "a.avi", "adpcm_ms", video="mpeg4")
    writer = copied(source, tmp_path / "b.mp4")
    assert writer.note == "the sound (adpcm_ms) was left out: mp4 cannot hold it"
    assert not VideoReader(tmp_path / "b.mp4").facts.has_audio


def test_silent_sources_and_unwanted_sound_are_fine(tmp_path: Path) -> None:
    reader = VideoReader(talking(tmp_path / "a.mp4", "aac"))
    with reader.writer(tmp_path / "b.mp4", (WIDTH, HEIGHT), sound=False) as writer:
        writer.write(noise(0), 0)
    with VideoReader(tmp_path / "b.mp4").writer(tmp_path / "c.mp4", (WIDTH, HEIGHT)) as writer:
        writer.write(noise(0), 0)
    assert writer.note is None
    assert not VideoReader(tmp_path / "c.mp4").facts.has_audio


def test_times_that_stand_still_are_moved_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT), time_base=Fraction(1, 1000)) as writer:
        for time_ms in (0, 40, 40, 20, 80):
            writer.write(noise(0), time_ms)
    times = [round(frame.time_s * 1000) for frame in VideoReader(tmp_path / "a.mp4")]
    assert times == [0, 40, 41, 42, 80]


def test_wrong_use_says_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"want a name that ends in \.mp4"):
        VideoWriter(tmp_path / "a.gif", (WIDTH, HEIGHT))
    with pytest.raises(InputError, match="scale the photo down"):
        VideoWriter(tmp_path / "a.mp4", (9000, 10))
    with (
        pytest.raises(InputError, match=r"want frames of \(48, 64, 3\)"),
        VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT)) as writer,
    ):
        writer.write(noise(0, 8, 8))
    with (
        pytest.raises(InputError, match="want at least one frame"),
        VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """Give an output that exists, and see that it and nothing else is there afterwards."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    yield path
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_the_old_file(old: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with VideoWriter(old, (WIDTH, HEIGHT)) as writer:
            for index in range(30):
                writer.write(noise(index))
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(old.parent.iterdir()) == [old]


def test_a_kill_leaves_the_old_file(old: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from pocketportrait.media.video import VideoWriter
        with VideoWriter(Path(sys.argv[1]), (64, 48)) as writer:
            for index in range(30):
                writer.write(np.full((48, 64, 3), index, np.uint8))
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", script, old], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("num_frames", [2, 60])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(old: Path, num_frames: int) -> None:
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from pocketportrait.errors import InputError
        from pocketportrait.media.video import VideoWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        random = np.random.default_rng(0)
        try:
            with VideoWriter(Path(sys.argv[1]), (64, 48)) as writer:
                for _ in range(int(sys.argv[2])):
                    writer.write(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        except InputError as error:
            print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, old, str(num_frames)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_may_not_be_written_to_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(InputError, match="want a writable place"),
        VideoWriter(tmp_path / "a.mp4", (WIDTH, HEIGHT)),
    ):
        pass


def test_a_file_where_a_folder_is_wanted_is_said(old: Path) -> None:
    with (
        pytest.raises(InputError, match="want a writable place"),
        VideoWriter(old / "b.mp4", (WIDTH, HEIGHT)),
    ):
        pass


def test_sound_of_an_unknown_kind_is_said(tmp_path: Path) -> None:
    source = talking(tmp_path / "a.mkv", "pcm_s16le")
    content = source.read_bytes()
    assert content.count(b"A_PCM/INT/LIT") == 1
    source.write_bytes(content.replace(b"A_PCM/INT/LIT", b"A_WHATEVER/IT"))
    with pytest.raises(InputError, match="sound of no known kind"):
        copy_sound(source, io.BytesIO())
    writer = copied(source, tmp_path / "b.mp4")
    assert writer.note is not None
    assert "the sound was left out" in writer.note
    assert not VideoReader(tmp_path / "b.mp4").facts.has_audio
