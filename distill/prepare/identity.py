"""Who is who: embeddings of clips, people from embeddings, and people divided into train and val."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.figures import evenly
from pocketportrait.errors import InputError
from pocketportrait.media.detector import CenterFaceDetector

MODEL = "MobileFaceNet.onnx"
SIDE_PX = 112
LOOKS = 5  # frames of a clip that are embedded
# Where eyes, nose and corners of the mouth stand for the network (the usual ArcFace template).
TEMPLATE = np.array(
    [[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32
)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class FaceEmbedder:
    """MobileFaceNet on one CPU thread; faces are aligned by five points."""

    def __init__(self, model: Path, detector: CenterFaceDetector) -> None:
        """Load the network.

        Args:
            model: the ONNX file.
            detector: who finds the five points.

        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._detector = detector

    def embed(self, frames: Array) -> Array | None:
        """Return the mean embedding of some frames of a clip, of length 1, or None without faces.

        Args:
            frames: uint8 [N, S, S, 3], ready crops.

        """
        found = []
        for frame in frames[evenly(len(frames), LOOKS)]:
            points = self._detector.points(frame)
            if points is not None:
                found.append(self._embed(_aligned(frame, points)))
        return _unit(np.mean(found, axis=0)) if found else None

    def _embed(self, face: Array) -> Array:
        both = np.stack([face, face[:, ::-1]]).astype(np.float32) / 255
        both = ((both - MEAN) / DEVIATION).transpose(0, 3, 1, 2).astype(np.float32)
        rows = [self._session.run(None, {self._input: one[None]})[0][0] for one in both]
        return _unit(rows[0] + rows[1])


def find_model(folder: Path) -> Path:
    """Return the face-recognition network in a folder of score models.

    Raises:
        InputError: it is not there.

    """
    path = folder / MODEL
    if not path.is_file():
        raise InputError(
            f"{folder}: want a folder with {MODEL}, got none there; name another, or leave "
            "--score-models out to tell people apart by source file"
        )
    return path


def similarity(have: Array, want: Array) -> Array:
    """Return the turn, scale and shift that moves points nearest to others, [2, 3].

    Least squares, after Umeyama (1991), without reflections.

    Args:
        have: [P, 2].
        want: [P, 2].

    """
    have_mean, want_mean = have.mean(axis=0), want.mean(axis=0)
    a, b = have - have_mean, want - want_mean
    size = float((a * a).sum())
    cosine = float((a * b).sum()) / size
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, want_mean - turn @ have_mean])


def people_by_face(embeddings: Array, distance: float) -> list[int]:
    """Return the number of the person in each clip: average linkage of cosine distances.

    Args:
        embeddings: [N, D] of length 1.
        distance: 1 - cosine at which groups stay apart.

    """
    if len(embeddings) < 2:
        return [0] * len(embeddings)
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(embeddings.astype(np.float64), "average", metric="cosine")
    return [int(group) for group in fcluster(tree, distance, "distance")]


def divide(names: Sequence[str], people: Sequence[Hashable], val_share: float) -> set[Hashable]:
    """Return the people that go to val: a share of them, one at least where there are two.

    Who goes is decided by hashes of names, so a new video moves few of the others.

    Args:
        names: of clips, unlike each other.
        people: of the same clips.
        val_share: of the people.

    """
    first: dict[Hashable, str] = {}
    for name, person in sorted(zip(names, people, strict=True), key=lambda pair: pair[0]):
        first.setdefault(person, name)
    count = round(val_share * len(first))
    if val_share > 0 and len(first) > 1:
        count = min(max(count, 1), len(first) - 1)
    order = sorted(first, key=lambda one: hashlib.sha256(first[one].encode()).digest())
    return set(order[:count])


def _aligned(frame: Array, points: Array) -> Array:
    import cv2

    return np.asarray(cv2.warpAffine(frame, similarity(points, TEMPLATE), (SIDE_PX, SIDE_PX)))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))
