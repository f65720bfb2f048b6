"""The sound of a video, copied into NUT: called in a process of its own (`media.decoder_worker`).

NUT holds every codec with its own clock and can be written into a pipe: who muxes the sound anew reads
what FFmpeg wrote here, never the file that came from a stranger.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

import av
import av.error

from pocketportrait.errors import InputError
from pocketportrait.media.container import open_container

FORMAT = "nut"
LEAD_S = 3600  # added to all times: NUT has none below zero, where codecs with a run-in begin


class _Pipe:
    """A file that can only be written to."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        """Write all of it."""
        view = memoryview(data)
        while view:
            view = view[self._pipe.write(view) :]
        return len(data)


def copy_sound(path: Path, pipe: IO[bytes]) -> None:
    """Write the first sound track of a file into a pipe, as far as the file can be read.

    Raises:
        InputError: no video or sound.

    """
    with open_container(path) as source:
        # FFmpeg knows no codec for a track whose name is damaged, and copies none such
        known = [track for track in source.streams.audio if track.codec_context is not None]
        if not known:
            got = "sound of no known kind" if source.streams.audio else "none"
            raise InputError(f"{path}: want a video with sound, got {got}; choose another file")
        track = known[0]
        with av.open(_Pipe(pipe), "w", format=FORMAT) as output:
            stream = output.add_stream_from_template(track)
            # a damaged source: the sound ends where its reading ends
            with contextlib.suppress(av.error.FFmpegError, OSError):
                for packet in source.demux(track):
                    if packet.pts is None or packet.size == 0:
                        continue
                    lead = round(LEAD_S / packet.time_base)
                    packet.pts += lead
                    packet.dts = packet.pts if packet.dts is None else packet.dts + lead
                    packet.stream = stream
                    output.mux(packet)
