"""Writing videos frame by frame, with the sound of the driving video, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from pocketportrait.atomic import replacing
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.audio import AudioCopy, copy_audio, opened_sound
from pocketportrait.media.container import EXACT, open_container

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
LONGEST_SIDE_PX = 4096  # what H.264 decoders take everywhere
AUDIO_TAIL_S = 0.5  # sound that may outlast the last frame

# Look-ahead is what x264 holds in memory: 10 frames keep a full-frame film below 100 MB. Without B-frames
# the file's duration is right even when the last frames are far apart.
LOSSY = {"crf": "17", "preset": "medium", "rc-lookahead": "10", "bf": "0"}
LOSSLESS = {"qp": "0", "preset": "veryfast", "rc-lookahead": "0"}


class VideoWriter:
    """An H.264 file being written; leaving the `with` block puts it in its place.

    Players start it at once (the index stands first), colours are tagged BT.709, odd sizes repeat
    their last row or column. An exception or a kill leaves whatever stood at `path` before.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        rate: Fraction = Fraction(25),
        time_base: Fraction | None = None,
        audio_from: Path | None = None,
        audio_start: Fraction = Fraction(0),
        lossless: bool = False,
        threads: int = 0,
    ) -> None:
        """Say what will be written; nothing is opened yet.

        Args:
            path: ends in .mp4, .m4v, .mov or .mkv.
            size: (width, height) of every frame.
            rate: frames a second, where no `pts` are given; else only a hint for players.
            time_base: seconds of one tick of `pts`; one frame by default.
            audio_from: the file whose first sound track is copied, if it has one.
            audio_start: the second of that file at which our first frame stands.
            lossless: keep every RGB value, for scoring; few players show such files.
            threads: of the encoder; 0 takes what the machine has, and the bytes depend on it.

        Raises:
            InputError: the suffix or the size is not one that can be written.

        """
        if path.suffix.lower() not in FORMATS:
            raise InputError(f"{path}: want a name that ends in {', '.join(FORMATS)}; rename it")
        if max(size) > LONGEST_SIDE_PX:
            raise InputError(
                f"{path}: want frames of at most {LONGEST_SIDE_PX} px, got {size[0]}x{size[1]}; "
                "scale the photo down"
            )
        self.path = path
        self.note: str | None = None  # what could not be carried over, for the user
        self._size = size
        self._rate = rate
        self._time_base = time_base or 1 / rate
        self._audio_from = audio_from
        self._audio_start = audio_start
        self._lossless = lossless
        self._threads = threads
        self._last_pts = -1
        self._num_frames = 0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path))
            kind = FORMATS[self.path.suffix.lower()]
            options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
            self._temporary = temporary
            self._container: OutputContainer = av.open(
                str(temporary), "w", format=kind, options=options
            )
            self._stream = self._add_video()
            self._audio: AudioCopy | None = None
            if self._audio_from is not None:
                self._copy_sound(stack, self._audio_from)
            self._stack = stack.pop_all()
        return self

    def _copy_sound(self, stack: contextlib.ExitStack, path: Path) -> None:
        try:
            source = stack.enter_context(opened_sound(path))
        except InputError as error:
            self.note = f"the sound was left out: {error}"
        else:
            self._audio, self.note = copy_audio(source, self._container, self._audio_start)

    def write(self, rgb: Array, pts: int | None = None) -> None:
        """Append a frame.

        Args:
            rgb: uint8 [H, W, 3] of the promised size.
            pts: its time in ticks of the time base; one frame after the last one by default. Times
                that do not advance are moved to the next tick.

        Raises:
            InputError: the frame has another size.

        """
        if rgb.shape != (self._size[1], self._size[0], 3):
            raise InputError(
                f"{self.path}: want frames of {(self._size[1], self._size[0], 3)}, got {rgb.shape}"
            )
        if pts is None:
            step = max(1, round(1 / (self._rate * self._time_base)))
            pts = 0 if self._last_pts < 0 else self._last_pts + step
        self._last_pts = max(pts, self._last_pts + 1)
        self._num_frames += 1
        frame = self._frame(rgb)
        frame.pts = self._last_pts
        frame.time_base = self._time_base
        self._mux(self._stream.encode(frame))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            try:
                self._finish()
            finally:
                self._container.close()
            self._check_written()

    def _finish(self) -> None:
        if not self._num_frames:
            raise InputError(f"{self.path}: want at least one frame, got none; nothing was written")
        self._mux(self._stream.encode(None))
        if self._audio is not None:
            end = (self._last_pts + 1) * self._time_base
            for packet in self._audio.until(end + Fraction(AUDIO_TAIL_S)):
                self._container.mux(packet)

    def _check_written(self) -> None:
        # FFmpeg reports a full disk late or not at all: the file itself is the witness
        try:
            with open_container(self._temporary) as container:
                frames = container.streams.video[0].frames
                if frames and frames != self._num_frames:
                    raise OSError(errno.EIO, f"{frames} of {self._num_frames} frames were stored")
        except InputError as error:
            raise OSError(errno.EIO, "the disk did not keep what was written") from error

    def _add_video(self) -> VideoStream:
        width, height = self._size
        if self._lossless:
            stream = self._container.add_stream("libx264rgb", self._rate, options=dict(LOSSLESS))
            stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        else:
            stream = self._container.add_stream("libx264", self._rate, options=dict(LOSSY))
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt = "yuv420p"
            stream.codec_context.colorspace = Colorspace.ITU709
            stream.codec_context.color_primaries = ColorPrimaries.BT709
            stream.codec_context.color_trc = ColorTrc.BT709
            stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.time_base = self._time_base
        stream.codec_context.thread_count = self._threads
        return stream

    def _frame(self, rgb: Array) -> av.VideoFrame:
        if self._lossless:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
        height, width = rgb.shape[:2]
        even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(even, "rgb24")
        return frame.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
        )

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._audio is not None and packet.dts is not None:
                for sound in self._audio.until(packet.dts * packet.time_base):
                    self._container.mux(sound)
            self._container.mux(packet)
