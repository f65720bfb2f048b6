"""Face figures of an animated clip: landmarks, expression, head pose, identity, and following over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.validation.temporal import RunningCorrelation

NUM_POINTS, NUM_BLENDSHAPES, NUM_ANGLES = 478, 52, 3
JAW_OPEN, BLINK_LEFT, BLINK_RIGHT = 25, 9, 10  # among the 52 blendshapes, in MediaPipe's order
# A correlation says nothing about a driver that does not move: the target must range over this much.
LEAST_RANGES = {"jaw": 0.2, "blink": 0.3, "yaw": 10.0}


@dataclass(frozen=True, slots=True)
class FaceReading:
    """What was read from one picture of a face."""

    points: Array  # [478, 2], x and y in pixels of a 256 px picture
    blendshapes: Array  # [52], 0..1
    pose: Array  # [3]: yaw, pitch, roll in degrees
    identity: Array | None = None  # [128], unit length

    def tracks(self) -> dict[str, float]:
        """Return what is followed over time: opening of the jaw, closing of the eyes, yaw."""
        blink = (self.blendshapes[BLINK_LEFT] + self.blendshapes[BLINK_RIGHT]) / 2
        return {
            "jaw": float(self.blendshapes[JAW_OPEN]),
            "blink": float(blink),
            "yaw": float(self.pose[0]),
        }


class ReadsFaces(Protocol):
    """Who reads faces; `FaceReader` does, and tests have their own."""

    def read(self, picture: Array, *, identity: bool = False) -> FaceReading | None:
        """Return what is read from uint8 [256, 256, 3], or None where no face is found."""
        ...


def landmark_distance_px(one: FaceReading, other: FaceReading) -> float:
    """Return the mean distance of the 478 points of two faces, in pixels."""
    return float(np.linalg.norm(one.points - other.points, axis=1).mean())


def expression_distance(one: Array, other: Array) -> float:
    """Return the sum of |difference| over the 52 blendshapes."""
    return float(np.abs(one - other).sum())


def pose_distance_deg(one: Array, other: Array) -> float:
    """Return the mean |difference| of yaw, pitch and roll, in degrees."""
    return float(np.abs(one - other).mean())


class FaceTally:
    """Means over the frames of one clip where both output and target have a face.

    In cross-reenactment the faces differ, so expression and pose count from each clip's first such
    frame, and landmarks are not compared.
    """

    def __init__(self, photo: FaceReading | None, *, relative: bool) -> None:
        """Take the photo that the output should look like; None where it has no face."""
        self._photo = photo
        self._relative = relative
        self._first: tuple[FaceReading, FaceReading] | None = None
        self._sums: dict[str, float] = {}
        self._seen = self.faces = 0  # targets with a face, and those whose output has one too
        self._followed = {name: RunningCorrelation() for name in LEAST_RANGES}

    def add(self, output: FaceReading | None, target: FaceReading | None) -> None:
        """Take the faces of the next pair of frames."""
        self._seen += target is not None
        if output is None or target is None:
            return
        self.faces += 1
        self._first = self._first or (output, target)
        first = self._first if self._relative else (None, None)
        moved, wanted = _since(output, first[0]), _since(target, first[1])
        self._sum("aed", expression_distance(moved.blendshapes, wanted.blendshapes))
        self._sum("apd_deg", pose_distance_deg(moved.pose, wanted.pose))
        if not self._relative:
            self._sum("akd_px", landmark_distance_px(output, target))
        if self._photo and self._photo.identity is not None and output.identity is not None:
            self._sum("csim", float(output.identity @ self._photo.identity))
        for name, value in target.tracks().items():
            self._followed[name].add(output.tracks()[name], value)

    def figures(self) -> dict[str, float]:
        """Return the figures that can be told; `missing` (0..1) always."""
        found = {"missing": 1 - self.faces / max(self._seen, 1)}
        found |= {name: total / self.faces for name, total in self._sums.items()}
        for name, least in LEAST_RANGES.items():
            if self._followed[name].ranges[1] >= least:
                found[f"corr_{name}"] = self._followed[name].value()
        return found

    def _sum(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value


def _since(face: FaceReading, first: FaceReading | None) -> FaceReading:
    if first is None:
        return face
    return FaceReading(face.points, face.blendshapes - first.blendshapes, face.pose - first.pose)
