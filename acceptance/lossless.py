"""Clips that are compared number by number are written without loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av

from pocketportrait import atomic
from pocketportrait.contract import Array


def write_clip(path: Path, frames: Iterable[Array]) -> int:
    """Write RGB frames of one size into a `.mkv`; return how many there were."""
    count = 0
    with atomic.replacing(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # frames are compared by number, not by time
        stream.pix_fmt = "bgr0"
        for frame in frames:
            if count == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count
