"""Decoding a video, whatever it holds: called in a process of its own (`media.decoder_worker`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from pocketportrait import limits
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.container import EXACT, open_container
from pocketportrait.media.video_facts import VideoFacts, VideoFrame

DEFAULT_RATE = Fraction(25)
UNCOUNTED_MISSING_S = 1.0  # a last frame may stand for long where the container counts no frames
_BT709_FROM_PX = 720  # untagged video of at least this height is BT.709, below it BT.601
_UNSPECIFIED = 2  # FFmpeg's number for a colour space that nobody wrote down


class VideoDecoding:
    """A video file as frames, as often as wanted; `media.video.VideoReader` says what they are."""

    def __init__(self, path: Path) -> None:
        """Open the file and decode its first frame.

        Raises:
            InputError: no video, no decodable frame, audio only, or larger than the limits.

        """
        self.path = path
        self.damage: str | None = None
        with _opened(path) as (container, stream):
            first = next(_decoded(container, stream, _Losses()), None)
            if first is None:
                raise InputError(
                    f"{path}: want a video, got one without a frame that can be decoded; "
                    "record or convert it again"
                )
            self._rotation = round(first.rotation / 90) * 90 % 360  # counterclockwise
            self.facts = _facts(container, stream, first, self._rotation)
            self._start = first.pts or 0
        most, facts = limits.current(), self.facts
        most.check("frame_pixels", facts.width * facts.height, path, "pixels of a frame")
        self._check_length(facts.num_frames or 0, facts.duration_s or 0)

    def frames(self, *, every: int = 1) -> Iterator[VideoFrame]:
        """Decode from the beginning, giving each `every`-th frame; only those become RGB.

        Raises:
            InputError: the file went away since it was opened.

        """
        losses = _Losses()
        self.damage = None
        last_pts = -1
        time_base = self.facts.time_base
        count = 0
        with _opened(self.path) as (container, stream):
            for index, frame in enumerate(_decoded(container, stream, losses)):
                count = index + 1
                pts = last_pts + 1 if frame.pts is None else frame.pts - self._start
                last_pts = max(pts, last_pts + 1)
                self._check_length(count, float(last_pts * time_base))
                if index % every == 0:
                    rgb = self._rgb(frame)
                    yield VideoFrame(index, last_pts, float(last_pts * time_base), rgb)
        self.damage = losses.said(count, float(last_pts * time_base), self.facts)

    def _check_length(self, count: int, seconds: float) -> None:
        most = limits.current()
        most.check("video_frames", count, self.path, "frames")
        most.check("video_seconds", seconds, self.path, "seconds")

    def _rgb(self, frame: av.VideoFrame) -> Array:
        turned = self._rotation in (90, 270)
        width, height = self.facts.width, self.facts.height
        if turned:
            width, height = height, width
        source = None
        if frame.colorspace == _UNSPECIFIED and frame.height >= _BT709_FROM_PX:
            source = Colorspace.ITU709
        picture = frame.reformat(
            width, height, "rgb24", src_colorspace=source, interpolation=EXACT
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, self._rotation // 90))


def plain_frames(path: Path) -> Iterator[Array]:
    """Yield every frame, uint8 [H, W, 3], as FFmpeg turns it into RGB by default.

    Raises:
        InputError: no video, damaged, without frames, or larger than the limits.

    """
    most = limits.current()
    count = 0
    with open_container(path) as container:
        stream = _video_stream(path, container)
        try:
            for frame in container.decode(stream):
                count += 1
                most.check("video_frames", count, path, "frames")
                yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(
                f"{path}: want a whole video, got one damaged after {count} frames"
                f" ({getattr(error, 'strerror', None) or error}); copy it again"
            ) from error
    if not count:
        raise InputError(f"{path}: want a video with frames, got none; record it again")


class _Losses:
    """What could not be decoded."""

    def __init__(self) -> None:
        self.packets = 0
        self.bad_packets = 0
        self.bad_frames = 0
        self.broke_off = ""

    def said(self, count: int, end_s: float, facts: VideoFacts) -> str | None:
        """Return one line about them, or None."""
        parts = []
        if self.bad_packets or self.bad_frames:
            parts.append(f"{max(self.bad_packets, self.bad_frames)} frames are damaged")
        if self.broke_off:
            parts.append(f"it breaks off after {end_s:.1f} s ({self.broke_off})")
        elif self._ends_early(end_s, facts):
            parts.append(f"it ends after {end_s:.1f} of {facts.duration_s:.1f} s")
        return f"{'; '.join(parts)}; {count} frames were decoded and kept" if parts else None

    def _ends_early(self, end_s: float, facts: VideoFacts) -> bool:
        if facts.duration_s is None:
            return False
        missing_s = facts.duration_s - end_s
        if facts.num_frames is None:
            return missing_s > UNCOUNTED_MISSING_S
        return self.packets < facts.num_frames and missing_s > float(3 / facts.rate)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with open_container(path) as container:
        yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    streams = [
        stream
        for stream in container.streams.video
        # the cover picture of a song is a "video" of one frame
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]
    if not streams:
        got = "audio only" if container.streams.audio else "a file without pictures"
        raise InputError(f"{path}: want a video with frames, got {got}; choose another file")
    stream = streams[0]
    most = limits.current()
    most.check("frame_pixels", stream.width * stream.height, path, "pixels of a frame")
    # a later header may ask for more than the container said
    stream.codec_context.options = {"max_pixels": str(most.frame_pixels)}
    stream.thread_type = "AUTO"
    return stream


def _decoded(
    container: InputContainer, stream: VideoStream, losses: _Losses
) -> Iterator[av.VideoFrame]:
    """Yield frames; go on behind damaged packets."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError) as error:
            losses.broke_off = getattr(error, "strerror", None) or str(error)
            with contextlib.suppress(av.error.FFmpegError):
                yield from stream.decode(None)
            return
        if packet is None:
            return
        losses.packets += packet.size > 0
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            losses.bad_packets += 1
            continue
        for frame in frames:
            losses.bad_frames += frame.is_corrupt
            yield frame


def _facts(
    container: InputContainer, stream: VideoStream, frame: av.VideoFrame, rotation: int
) -> VideoFacts:
    width, height = frame.width, frame.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if Fraction(1, 4) <= aspect < 1:
        height = round(height / aspect)
    elif 1 < aspect <= 4:
        width = round(width * aspect)
    if rotation in (90, 270):
        width, height = height, width
    time_base = stream.time_base or 1 / DEFAULT_RATE
    rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
    return VideoFacts(
        width=width,
        height=height,
        rate=rate if 0 < rate <= 1000 else DEFAULT_RATE,
        time_base=time_base,
        duration_s=_duration_s(container, stream),
        num_frames=stream.frames or None,
        start=(frame.pts or 0) * time_base,
        has_audio=bool(container.streams.audio),
    )


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")  # Matroska: "00:00:02.400000000"
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration and not container.streams.audio:
        return container.duration / 1_000_000
    return None  # the container's own may be that of the sound
