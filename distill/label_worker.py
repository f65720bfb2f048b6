"""Label clips with MediaPipe's face landmarker, in whatever environment has it.

This file is run as a script, by path, in an interpreter that has `mediapipe`, `av`, `numpy` and
`safetensors` and nothing of this project: MediaPipe pulls opencv-contrib-python, which shares a
folder with the opencv-python of the face detector, so the two never live in one environment.

    python label_worker.py MODEL.task OUT_DIR CLIP.mp4...

One `OUT_DIR/<stem>.safetensors` a clip (arrays: see `pocketportrait.distill.labels`), and one JSON line
a clip on standard output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "pocketportrait-labels-1"


def head_angles(matrix: np.ndarray) -> tuple[float, float, float]:
    """Return yaw, pitch, roll in radians of a 4x4 facial transformation matrix."""
    r = np.asarray(matrix)[:3, :3]
    level = math.hypot(r[0, 0], r[1, 0])
    return (
        math.atan2(-r[2, 0], level),
        math.atan2(r[2, 1], r[2, 2]),
        math.atan2(r[1, 0], r[0, 0]),
    )


def open_landmarker(model: Path) -> Any:
    """Return a single-face landmarker with blendshapes and transformation matrices."""
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(model)),
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
            min_face_detection_confidence=0.3,
        )
    )


def label_clip(path: Path, landmarker: Any, rate_hz: float) -> dict[str, np.ndarray]:
    """Label about `rate_hz` frames a second of one clip; frames without a face are left out.

    Returns:
        `frame` int32 [N] (index in the clip), `points` float32 [N, 478, 2] (0..1 of the frame),
        `blendshapes` float32 [N, 52] and `angles` float32 [N, 3] (yaw, pitch, roll in radians).

    """
    import av
    import mediapipe as mp

    rows: list[tuple[int, list[Any], list[float], tuple[float, float, float]]] = []
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        step = max(1, round(float(rate or 25) / rate_hz))
        for index, frame in enumerate(container.decode(video=0)):
            if index % step:
                continue
            image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
            found = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=image))
            if not found.face_landmarks:
                continue
            points = [(p.x, p.y) for p in found.face_landmarks[0]]
            scores = [b.score for b in found.face_blendshapes[0]]
            angles = head_angles(found.facial_transformation_matrixes[0])
            rows.append((index, points, scores, angles))
    return {
        "frame": np.array([r[0] for r in rows], np.int32),
        "points": np.array([r[1] for r in rows], np.float32).reshape(-1, 478, 2),
        "blendshapes": np.array([r[2] for r in rows], np.float32).reshape(-1, 52),
        "angles": np.array([r[3] for r in rows], np.float32).reshape(-1, 3),
    }


def is_done(out: Path, source: str, rate_hz: float) -> bool:
    """Say whether `out` already holds the labels of exactly this clip at this rate."""
    from safetensors import safe_open

    if not out.exists():
        return False
    with safe_open(str(out), "numpy") as file:
        facts = file.metadata() or {}
    return facts == {"format": FORMAT, "source_sha256": source, "rate_hz": f"{rate_hz:g}"}


def write(out: Path, arrays: dict[str, np.ndarray], source: str, rate_hz: float) -> None:
    """Write one label file, whole or not at all."""
    from safetensors.numpy import save

    facts = {"format": FORMAT, "source_sha256": source, "rate_hz": f"{rate_hz:g}"}
    temporary = out.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(save(arrays, metadata=facts))
    temporary.replace(out)


def main(argv: list[str] | None = None) -> int:
    """Run the worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--rate-hz", type=float, default=10.0)
    args = parser.parse_args(argv)
    landmarker = open_landmarker(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    for clip in args.clips:
        source = hashlib.sha256(clip.read_bytes()).hexdigest()
        out = args.out / f"{clip.stem}.safetensors"
        if is_done(out, source, args.rate_hz):
            line = {"clip": clip.name, "state": "unchanged"}
        else:
            arrays = label_clip(clip, landmarker, args.rate_hz)
            write(out, arrays, source, args.rate_hz)
            line = {"clip": clip.name, "state": "labelled", "frames": len(arrays["frame"])}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
