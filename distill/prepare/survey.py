"""The first pass over a video: where it cuts, and where faces are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.settings import Settings
from pocketportrait.media.detector import FaceDetector
from pocketportrait.media.face import FaceBox
from pocketportrait.media.video import VideoReader

LOOK_RATE_HZ = 6.0  # looks for faces a second
NOMINAL_RATE_HZ = 25.0  # cuts are counted in frames; the detectors want a rate to name them by
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
    """PySceneDetect's content and adaptive detectors on frames that we decode; either finds a cut.

    Both compare hue, saturation and brightness of neighbouring frames. A large change is a cut; so is
    a smaller one that stands out from the two frames before and behind, as between two people before
    one wall. PySceneDetect's own reader is not used: ours turns pictures upright, keeps their times,
    and goes on behind damage.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin.

        Raises:
            ModuleNotFoundError: scenedetect is not installed (extra `prepare`).

        """
        # OpenCV takes a quarter of a second; `--help` must not pay for it
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector, ContentDetector

        self.cuts: set[int] = set()
        self._timecode: Any = FrameTimecode
        # no shortest shot: what is too short is rejected later, with its length
        large = ContentDetector(threshold=settings.cut_levels, min_scene_len=0)
        outstanding = AdaptiveDetector(
            adaptive_threshold=settings.calm_cut_ratio,
            min_content_val=settings.calm_cut_levels,
            min_scene_len=0,
        )
        self._detectors: tuple[Any, ...] = (large, outstanding)

    def add(self, index: int, rgb: Array) -> None:
        """Take the next frame; `cuts` then holds the cuts up to two frames before it."""
        step = max(1, min(rgb.shape[:2]) // CUT_SIDE_PX)
        bgr = np.ascontiguousarray(rgb[::step, ::step, ::-1])
        for detector in self._detectors:
            found = detector.process_frame(self._timecode(index, NOMINAL_RATE_HZ), bgr)
            self.cuts.update(int(cut.frame_num) for cut in found if cut.frame_num > 0)


def survey(reader: VideoReader, detector: FaceDetector, settings: Settings) -> Survey:
    """Decode a video once, frame by frame.

    Args:
        reader: the video.
        detector: who looks for faces.
        settings: what a cut is.

    """
    finder = CutFinder(settings)
    every = max(1, round(float(reader.facts.rate) / LOOK_RATE_HZ))
    times: list[float] = []
    looks: list[Look] = []
    for frame in reader.frames():
        times.append(frame.time_s)
        finder.add(frame.index, frame.rgb)
        if frame.index % every == 0:
            looks.append(Look(frame.index, tuple(detector.detect(frame.rgb))))
    return Survey(np.array(times), tuple(sorted(finder.cuts)), tuple(looks), reader.damage)
