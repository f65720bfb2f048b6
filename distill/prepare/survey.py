"""The first pass over a video: where it cuts, and where faces are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.media.detector import FaceDetector
from pocketportrait.media.face import FaceBox
from pocketportrait.media.video import VideoReader

LOOK_RATE_HZ = 6.0  # looks for faces a second
CUT_SIDE_PX = 256  # frames are shrunk to about this, by whole steps, before they are compared


@dataclass(frozen=True, slots=True)
class Look:
    """The faces of one frame, the largest first."""

    frame: int
    faces: tuple[FaceBox, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass saw."""

    times_s: Array  # [frames]
    cuts: tuple[int, ...]  # the first frame of each shot but the first
    looks: tuple[Look, ...]
    damage: str | None

    def shots(self) -> list[tuple[int, int]]:
        """Return (first frame, frame behind the last) of each shot."""
        edges = [0, *self.cuts, len(self.times_s)]
        return list(itertools.pairwise(edges))


class CutFinder:
    """PySceneDetect's content detector on frames that we decode.

    It compares hue, saturation and brightness of neighbouring frames. Its own reader is not used:
    ours turns pictures upright, keeps their times, and goes on behind damage.
    """

    def __init__(self, levels: float) -> None:
        """Begin.

        Args:
            levels: mean change of the three, 0..255, from which two frames belong to two shots.

        Raises:
            ModuleNotFoundError: scenedetect is not installed (extra `prepare`).

        """
        # OpenCV takes a quarter of a second; `--help` must not pay for it
        from scenedetect import FrameTimecode
        from scenedetect.detectors import ContentDetector

        self._timecode: Any = FrameTimecode
        # no shortest shot: what is too short is rejected later, with its length
        self._detector: Any = ContentDetector(threshold=levels, min_scene_len=0)

    def is_cut(self, index: int, rgb: Array) -> bool:
        """Take the next frame; say whether a shot begins with it."""
        step = max(1, min(rgb.shape[:2]) // CUT_SIDE_PX)
        bgr = np.ascontiguousarray(rgb[::step, ::step, ::-1])
        found = self._detector.process_frame(self._timecode(index, 25.0), bgr)
        return index > 0 and bool(found)


def survey(reader: VideoReader, detector: FaceDetector, cut_levels: float) -> Survey:
    """Decode a video once, frame by frame.

    Args:
        reader: the video.
        detector: who looks for faces.
        cut_levels: as `CutFinder`.

    """
    finder = CutFinder(cut_levels)
    every = max(1, round(float(reader.facts.rate) / LOOK_RATE_HZ))
    times: list[float] = []
    cuts: list[int] = []
    looks: list[Look] = []
    for frame in reader.frames():
        times.append(frame.time_s)
        if finder.is_cut(frame.index, frame.rgb):
            cuts.append(frame.index)
        if frame.index % every == 0:
            looks.append(Look(frame.index, tuple(detector.detect(frame.rgb))))
    return Survey(np.array(times), tuple(cuts), tuple(looks), reader.damage)
