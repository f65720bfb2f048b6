"""Reading videos as streams of upright frames with their own times.

FFmpeg decodes in a process of its own (`media.decoder`), one frame ahead of who reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pocketportrait import limits
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.decoder import Decoder
from pocketportrait.media.photo import require_file
from pocketportrait.media.video_facts import VideoFacts, VideoFrame
from pocketportrait.media.video_writer import VideoWriter

__all__ = ["VideoFacts", "VideoFrame", "VideoReader", "VideoWriter", "plain_frames"]


class VideoReader:
    """A video file as frames, as often as wanted; it holds one frame at a time.

    Rotation metadata and non-square pixels are applied, and the times of the frames are the file's
    own. A file that is damaged in the middle gives what could be decoded; `damage` says what was
    lost once `frames` has ended.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and decode its first frame.

        Raises:
            InputError: missing, empty, no video, no decodable frame, audio only, or larger than
                the limits.

        """
        self.path = path
        self.damage: str | None = None
        self._limits = limits.current()
        self._idle: Decoder | None
        self._idle, self.facts = self._open()

    def frames(self, *, every: int = 1) -> Iterator[VideoFrame]:
        """Decode from the beginning, giving each `every`-th frame; only those become RGB.

        Raises:
            InputError: the file went away since it was opened, has more frames or seconds than
                the limits, or killed or stalled its decoder.

        """
        self.damage = None
        decoder, self._idle = self._idle or self._open()[0], None
        try:
            decoder.ask({"every": every})
            while True:
                said = decoder.answer()
                if "damage" in said:
                    self.damage = said["damage"]
                    self._idle = decoder
                    return
                rgb = decoder.picture(said, self._limits.frame_pixels)
                index, pts = int(said["index"]), int(said["pts"])
                yield VideoFrame(index, pts, float(pts * self.facts.time_base), rgb)
                del rgb
        finally:
            if self._idle is not decoder:
                decoder.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Decode every frame from the beginning."""
        return self.frames()

    def writer(
        self, path: Path, size: tuple[int, int], *, lossless: bool = False, sound: bool = True
    ) -> VideoWriter:
        """Return a writer that takes this video's `pts` and, where it can, carries its sound."""
        return VideoWriter(
            path,
            size,
            rate=self.facts.rate,
            time_base=self.facts.time_base,
            audio_from=self.path if sound and self.facts.has_audio else None,
            audio_start=self.facts.start,
            lossless=lossless,
        )

    def _open(self) -> tuple[Decoder, VideoFacts]:
        require_file(self.path, "video")
        self._limits.check_file("video_bytes", self.path)
        decoder = Decoder("video", self.path)
        said = decoder.answer()
        try:
            return decoder, VideoFacts.from_json(said)
        except ValueError as error:
            decoder.close()
            raise InputError(f"{self.path}: could not be decoded: {error}") from error


def plain_frames(path: Path) -> Iterator[Array]:
    """Yield a video's stored frames, uint8 [H, W, 3], as FFmpeg turns them into RGB by default.

    `VideoReader` converts more exactly, but its levels differ by about one: figures of programs that
    take the default would not compare.

    Raises:
        InputError: no video, damaged, without frames, or larger than the limits.

    """
    require_file(path, "video")
    most = limits.current()
    most.check_file("video_bytes", path)
    decoder = Decoder("plain", path)
    try:
        while "shape" in (said := decoder.answer()):
            yield decoder.picture(said, most.frame_pixels)
    finally:
        decoder.close()
