"""Copying a sound track without decoding it; another process takes it out of the file it came in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from pocketportrait.errors import InputError
from pocketportrait.media.decoder import Decoder
from pocketportrait.media.sound_decoding import FORMAT, LEAD_S


@contextlib.contextmanager
def opened_sound(path: Path) -> Iterator[InputContainer]:
    """Give the first sound track of a file as a container that holds nothing else.

    Raises:
        InputError: it has none that can be read, or its decoder died.

    """
    decoder = Decoder("sound", path)
    try:
        try:
            container = av.open(decoder, "r", format=FORMAT)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"{path}: want sound that can be copied, got another") from error
        with container:
            yield container
    finally:
        decoder.close()


def copy_audio(
    source: InputContainer, output: OutputContainer, start: Fraction
) -> tuple[AudioCopy | None, str | None]:
    """Add the first sound track of `source` to `output`; else say why it cannot be.

    Args:
        source: of `opened_sound`; stays open as long as the copy is used.
        output: not yet written to.
        start: the second of `source` that becomes 0.

    """
    if not source.streams.audio:
        return None, None
    track = source.streams.audio[0]
    name = track.codec_context.name
    if name not in output.supported_codecs:
        return None, f"the sound ({name}) was left out: {output.format.name} cannot hold it"
    stream = output.add_stream_from_template(track)
    return AudioCopy(source.demux(track), stream, start), None


class AudioCopy:
    """The encoded sound, given out as far as the pictures have come."""

    def __init__(
        self, packets: Iterator[Packet[AudioStream]], stream: AudioStream, start: Fraction
    ) -> None:
        self._packets = packets
        self._stream = stream
        self._start = start
        self._waiting: Packet[AudioStream] | None = None

    def until(self, time: Fraction) -> Iterator[Packet[AudioStream]]:
        """Yield the packets that begin before `time`, in seconds since our first frame."""
        while True:
            packet = self._waiting or self._next()
            self._waiting = packet
            if packet is None or packet.pts is None or packet.pts * packet.time_base >= time:
                return
            self._waiting = None
            packet.stream = self._stream
            yield packet

    def _next(self) -> Packet[AudioStream] | None:
        """Return the next packet that is heard, on our clock."""
        while True:
            try:
                packet = next(self._packets, None)
            except (av.error.FFmpegError, OSError):
                return None  # a damaged source: the sound ends where its reading ends
            if packet is None or packet.size == 0:
                return None
            if packet.pts is None:
                continue
            heard_from = round(self._start / packet.time_base)
            shift = heard_from + round(LEAD_S / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if packet.pts + max(packet.duration or 0, 1) > 0 or heard_from == 0:
                return packet
