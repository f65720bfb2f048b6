import subprocess
import sys
import textwrap
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.video import VideoReader, VideoWriter


def picture(index: int, height: int = 48, width: int = 64) -> Array:
    """Return a smooth picture whose blue tells its index."""
    y, x = np.mgrid[:height, :width]
    blue = np.full((height, width), index * 8 % 256)
    return np.stack([x * 255 // width, y * 255 // height, blue], axis=-1).astype(np.uint8)


def detailed(index: int) -> Array:
    """Return a picture that takes some bytes to store."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return np.roll(noise.repeat(4, 0).repeat(4, 1), index, axis=1)


def plain_video(path: Path, num_frames: int = 20) -> Path:
    with VideoWriter(path, (240, 240)) as writer:
        for index in range(num_frames):
            writer.write(detailed(index))
    return path


def sound(output: av.container.OutputContainer, codec: str, seconds: int) -> None:
    stream = output.add_stream(codec, rate=44100)
    stream.layout = "mono"  # type: ignore[union-attr]
    wave = (np.sin(np.arange(44100) * 0.05) * 8000).astype(np.int16)[None]
    for second in range(seconds):
        frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
        frame.sample_rate, frame.pts = 44100, second * 44100
        output.mux(stream.encode(frame))  # type: ignore[union-attr]
    output.mux(stream.encode(None))  # type: ignore[union-attr]


def raw_video(path: Path, *, rotation: int = 0, aspect: Fraction | None = None) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for index in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), "rgb24")))
        output.mux(stream.encode(None))
    return path


def test_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (64, 48)) as writer:
        for index in range(10):
            writer.write(picture(index))
    reader = VideoReader(tmp_path / "a.mp4")
    assert (reader.facts.width, reader.facts.height) == (64, 48)
    assert reader.facts.rate == 25
    assert reader.facts.num_frames == 10
    frames = list(reader)
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 25, atol=1e-4)
    error = np.array([frame.rgb.astype(int) - picture(frame.index) for frame in frames])
    assert np.abs(error).mean() < 2  # lossy, half the colour resolution
    assert reader.damage is None


def test_colours_are_not_cast(tmp_path: Path) -> None:
    patches = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    want = patches.repeat(20, axis=0).repeat(20, axis=1)
    with VideoWriter(tmp_path / "a.mp4", (240, 240)) as writer:
        writer.write(want)
    error = next(iter(VideoReader(tmp_path / "a.mp4"))).rgb.astype(int) - want
    assert np.abs(error[10::20, 10::20].mean(axis=(0, 1))).max() < 0.5  # swscale's default: -1.3


def test_a_file_can_be_passed_twice_and_thinned(tmp_path: Path) -> None:
    reader = VideoReader(plain_video(tmp_path / "a.mp4", 12))
    assert [frame.index for frame in reader.frames(every=5)] == [0, 5, 10]
    assert len(list(reader)) == 12


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3), (-90, 3)])
def test_rotation_metadata_is_applied(tmp_path: Path, rotation: int, turns: int) -> None:
    reader = VideoReader(raw_video(tmp_path / "a.mp4", rotation=rotation))
    want = np.rot90(picture(0), turns)
    assert (reader.facts.height, reader.facts.width) == want.shape[:2]
    got = next(iter(reader)).rgb
    assert np.abs(got.astype(int) - want).mean() < 4


@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (128, 48)), ((1, 2), (64, 96))])
def test_pixels_become_square(
    tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]
) -> None:
    reader = VideoReader(raw_video(tmp_path / "a.mp4", aspect=Fraction(*aspect)))
    assert (reader.facts.width, reader.facts.height) == size
    assert next(iter(reader)).rgb.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_survives_a_round_trip(tmp_path: Path, suffix: str) -> None:
    times_ms = [0, 40, 100, 105, 300, 340, 500, 1000]
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    with VideoWriter(first, (64, 48), time_base=Fraction(1, 1000)) as writer:
        for index, time_ms in enumerate(times_ms):
            writer.write(picture(index), time_ms)
    reader = VideoReader(first)
    with reader.writer(second, (64, 48)) as writer:
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
    again = VideoReader(second)
    np.testing.assert_allclose([frame.time_s * 1000 for frame in again], times_ms, atol=0.6)
    assert again.facts.duration_s == pytest.approx(1.0, abs=0.2)


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    reader = VideoReader(plain_video(tmp_path / "a.mp4", 40))
    alive: list[weakref.ref[Array]] = []
    most = 0
    with reader.writer(tmp_path / "b.mp4", (240, 240)) as writer:
        for frame in reader:
            writer.write(frame.rgb, frame.pts)
            alive = [reference for reference in alive if reference() is not None]
            alive.append(weakref.ref(frame.rgb))
            most = max(most, len(alive))
    assert most <= 2  # this frame, and the last one until its name is taken


@pytest.mark.slow
def test_the_codecs_memory_does_not_grow_either(tmp_path: Path) -> None:
    source = plain_video(tmp_path / "a.mp4", 300)
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from pocketportrait.media.video import VideoReader
        reader = VideoReader(Path(sys.argv[1]))
        peaks = []
        with reader.writer(Path(sys.argv[2]), (240, 240)) as writer:
            for frame in reader:
                writer.write(frame.rgb, frame.pts)
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        print(peaks[-1] - peaks[100])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source, tmp_path / "b.mp4"],
        capture_output=True,
        text=True,
        check=True,
    )
    per_byte = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * per_byte < 8_000_000  # 200 held frames would be 34 MB


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"hello\n" * 100, "cannot be opened"),
        (bytes(5000), "cannot be opened"),
        (b"#EXTM3U\n/etc/hostname\n", "cannot be opened"),
        (b"ffconcat version 1.0\nfile a.mp4\n", "cannot be opened"),
    ],
)
def test_no_video_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("a.mp4", "a.txt", "a.m3u8"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            VideoReader(path)
        assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        VideoReader(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="got a folder"):
        VideoReader(tmp_path)


def test_audio_only_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        sound(output, "aac", 1)
    with pytest.raises(InputError, match="got audio only"):
        VideoReader(path)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    Image.fromarray(picture(0)).save(tmp_path / "cover.png")
    with (
        av.open(str(path), "w", format="mp4") as output,
        av.open(str(tmp_path / "cover.png")) as cover,
    ):
        stream = output.add_stream_from_template(cover.streams.video[0])
        stream.disposition = av.stream.Disposition.attached_pic
        packet = next(cover.demux(video=0))
        packet.stream = stream
        packet.pts = packet.dts = 0
        output.mux(packet)
    with pytest.raises(InputError, match="want a video"):
        VideoReader(path)


def test_a_header_without_frames_is_said(tmp_path: Path) -> None:
    whole = plain_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: whole.index(b"mdat") + 4])
    with pytest.raises(InputError, match="without a frame that can be decoded"):
        VideoReader(tmp_path / "b.mp4")


def test_a_cut_file_gives_what_is_left_and_says_so(tmp_path: Path) -> None:
    whole = plain_video(tmp_path / "a.mp4", 50).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: int(len(whole) * 0.6)])
    reader = VideoReader(tmp_path / "b.mp4")
    count = len(list(reader))
    assert 5 < count < 50
    assert reader.damage is not None
    assert "of 2.0 s" in reader.damage
    assert f"{count} frames were decoded and kept" in reader.damage


def test_a_cut_matroska_file_says_so_too(tmp_path: Path) -> None:
    whole = plain_video(tmp_path / "a.mkv", 100).read_bytes()
    (tmp_path / "b.mkv").write_bytes(whole[: len(whole) // 2])
    reader = VideoReader(tmp_path / "b.mkv")
    assert 5 < len(list(reader)) < 100
    assert "of 4.0 s" in str(reader.damage)


def test_damage_in_the_middle_keeps_both_sides(tmp_path: Path) -> None:
    whole = bytearray(plain_video(tmp_path / "a.mp4", 50).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 3000] = bytes(3000)
    (tmp_path / "b.mp4").write_bytes(whole)
    reader = VideoReader(tmp_path / "b.mp4")
    frames = list(reader)
    assert len(frames) > 20
    assert frames[-1].time_s > 1.5
    assert "damaged" in str(reader.damage)


def test_huge_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_LIMITS", "frame_pixels=50000")
    with pytest.raises(InputError, match=r"got 57600; .* --limit frame_pixels=N"):
        VideoReader(plain_video(tmp_path / "a.mp4", 1))
