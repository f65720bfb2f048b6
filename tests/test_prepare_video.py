"""One video: cuts, filters on pictures, the clip that is written, damage."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.record import Records, VideoRecord, file_sha256
from pocketportrait.distill.prepare.settings import Rights, Settings
from pocketportrait.distill.prepare.survey import survey
from pocketportrait.distill.prepare.video import VideoJob, record_video
from pocketportrait.media.crop import median_crop
from pocketportrait.media.detector import CenterFaceDetector
from pocketportrait.media.face import FaceBox
from pocketportrait.media.samples import sample_drivers
from pocketportrait.media.video import VideoReader, VideoWriter

WIDTH, HEIGHT = 320, 240
RATE_HZ = 10
FACE = FaceBox(110, 50, 210, 175)


class Always:
    """A detector that sees one face everywhere."""

    def detect(self, rgb: Array) -> list[FaceBox]:
        return [FACE]


def scene(
    count: int, seed: int = 0, *, level: int = 110, detail: int = 60, pace_px: int = 4
) -> Iterator[Array]:
    """Grey blobs and grain that move over the picture."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 90, (12, 32), dtype=np.uint8))
    grain = Image.fromarray(rng.integers(0, detail + 1, (80, 213), dtype=np.uint8))
    size = (2 * WIDTH, HEIGHT)
    wide = np.asarray(blobs.resize(size, Image.Resampling.BICUBIC)).astype(int)
    wide = wide + np.asarray(grain.resize(size)) + level - 45 - detail // 2
    for index in range(count):
        shown = np.roll(wide, pace_px * index, axis=1)[:, :WIDTH].astype(np.uint8)
        yield np.repeat(shown[..., None], 3, axis=2)


def written(path: Path, *shots: Iterator[Array], rate: int = RATE_HZ) -> Path:
    with VideoWriter(path, (WIDTH, HEIGHT), rate=Fraction(rate)) as writer:
        for shot in shots:
            for frame in shot:
                writer.write(frame)
    return path


def subtitled(frames: Iterator[Array]) -> Iterator[Array]:
    font = ImageFont.load_default(20)
    for frame in frames:
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        draw.text((60, 150), "and then she said no", "white", font, stroke_width=2, stroke_fill=0)
        yield np.asarray(picture)


def recorded(path: Path, data: Path, settings: Settings | None = None) -> VideoRecord:
    job = VideoJob(
        path,
        path.name,
        file_sha256(path),
        Rights(licence="CC0-1.0"),
        settings or Settings(),
        data,
        None,
    )
    record = record_video(job, Always())
    assert Records(data).read(record.key) == record
    return record


def test_a_video_becomes_a_clip_of_its_crop(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(24))
    record = recorded(path, tmp_path / "data")
    (clip,) = record.clips
    assert record.rejected == ()
    assert record.size == (WIDTH, HEIGHT)
    crop = median_crop([FACE], (WIDTH, HEIGHT))
    assert clip.crop == pytest.approx((crop.x, crop.y, crop.side), abs=0.01)
    assert (clip.frames, clip.fps, clip.sec, clip.start_frame) == (24, 10.0, 2.4, 0)
    made = VideoReader(Records(tmp_path / "data").clip(clip.name))
    assert (made.facts.width, made.facts.height, made.facts.rate) == (256, 256, RATE_HZ)
    assert len([*made]) == 24


@pytest.mark.parametrize(
    ("shot", "reason"),
    [
        (lambda: scene(24, detail=0), "blurred"),
        (lambda: scene(24, pace_px=0), "static"),
        (lambda: subtitled(scene(24)), "subtitles"),
        (lambda: scene(16), "short"),
    ],
)
def test_what_the_pictures_say_is_a_reason_with_a_figure(
    tmp_path: Path, shot: Callable[[], Iterator[Array]], reason: str
) -> None:
    record = recorded(written(tmp_path / "a.mp4", shot()), tmp_path / "data")
    (one,) = record.rejected
    assert record.clips == ()
    assert one.reason == reason
    assert one.measure
    assert one.figure is not None
    assert one.limit is not None
    assert (one.figure > one.limit) == (reason == "subtitles")


def test_shots_are_split_at_cuts_and_named_by_their_first_frame(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(22), scene(24, 1, level=200), scene(8, 2))
    record = recorded(path, tmp_path / "data")
    assert [(clip.start_frame, clip.frames) for clip in record.clips] == [(0, 22), (22, 24)]
    assert [clip.name.rpartition("-")[2] for clip in record.clips] == ["0000000", "0000022"]
    (short,) = record.rejected
    assert (short.reason, short.start_s, short.figure) == ("short", 4.6, 0.8)


def test_a_clip_shows_its_own_frames(tmp_path: Path) -> None:
    record = recorded(
        written(tmp_path / "a.mp4", scene(22), scene(24, 1, level=200)), tmp_path / "data"
    )
    means = [
        np.mean(
            [frame.rgb.mean() for frame in VideoReader(Records(tmp_path / "data").clip(c.name))]
        )
        for c in record.clips
    ]
    assert means == pytest.approx([110, 200], abs=12)


def test_a_fast_video_loses_every_other_frame(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(130, pace_px=1), rate=60)
    (clip,) = recorded(path, tmp_path / "data").clips
    assert (clip.frames, clip.fps) == (65, 30.0)
    made = [*VideoReader(Records(tmp_path / "data").clip(clip.name))]
    assert made[1].time_s == pytest.approx(1 / 30, abs=1e-3)


def test_a_long_shot_becomes_pieces(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(44))
    clips = recorded(path, tmp_path / "data", Settings(longest_s=2.5)).clips
    assert [(clip.start_frame, clip.frames, clip.shot) for clip in clips] == [
        (0, 22, 0),
        (22, 22, 0),
    ]


def test_damage_in_the_middle_keeps_what_can_be_decoded(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(44))
    content = bytearray(path.read_bytes())
    start = len(content) * 6 // 10
    content[start : start + 600] = bytes(600)
    path.write_bytes(content)
    record = recorded(path, tmp_path / "data")
    assert "damaged" in str(record.damage)
    assert "frames were decoded and kept" in str(record.damage)
    assert sum(clip.frames for clip in record.clips) >= 20


def test_a_video_that_breaks_off_keeps_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", scene(44))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])
    record = recorded(path, tmp_path / "data")
    assert "of 4.4 s" in str(record.damage)
    assert record.clips[0].frames >= 20


def test_audio_only_and_junk_are_records_with_a_reason(tmp_path: Path) -> None:
    song, junk = tmp_path / "a.m4a", tmp_path / "b.mp4"
    with av.open(str(song), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    junk.write_bytes(b"no video at all" * 99)
    for path, words in ((song, "got audio only"), (junk, "cannot be opened")):
        record = recorded(path, tmp_path / "data")
        (one,) = record.rejected
        assert one.reason == "unreadable"
        assert words in one.note
        assert record.clips == ()


def test_a_record_whose_clip_was_changed_is_no_record(tmp_path: Path) -> None:
    record = recorded(written(tmp_path / "a.mp4", scene(24)), tmp_path / "data")
    records = Records(tmp_path / "data")
    clip = records.clip(record.clips[0].name)
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")
    assert records.read(record.key) is None


def test_real_faces_are_cut_apart_and_framed(tmp_path: Path) -> None:
    # two people one after the other: the cut between portraits is the one that matters
    first, second = (VideoReader(path) for path in sample_drivers())
    path = tmp_path / "two.mp4"
    with VideoWriter(path, (256, 256)) as writer:
        for reader in (first, second):
            for frame, _ in zip(reader, range(12), strict=False):
                writer.write(frame.rgb)
    found = survey(VideoReader(path), CenterFaceDetector(), Settings())
    assert found.shots() == [(0, 12), (12, 24)]
    assert [len(look.faces) for look in found.looks] == [1] * len(found.looks)
    assert len(found.looks) == 6
