"""Read faces with MediaPipe's face landmarker, in whatever environment has it.

This file is run as a script, by path, in an interpreter that has `mediapipe` and `numpy` and nothing of
this project (why: see `distill/label_worker.py`, whose functions it shares).

    python face_worker.py MODEL.task

Pictures come on standard input, each `<HH` height and width, then RGB bytes. Standard output is
`READY`, then per picture one byte, 1 if there is a face, and if so 478 x 2 points in pixels, 52
blendshapes and yaw, pitch, roll in degrees as little-endian float32. Exit 3 without MediaPipe.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(
        0
    )  # files beside this script must not stand in for other modules, as `bisect` would

import importlib.util
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

READY = b"faces 1\n"
NO_MEDIAPIPE = 3
NAMES = {9: "eyeBlinkLeft", 10: "eyeBlinkRight", 25: "jawOpen"}  # what the reader counts on


def label_worker() -> Any:
    """Return the sibling script of the distill stage as a module."""
    path = Path(__file__).resolve().parent.parent / "distill" / "label_worker.py"
    spec = importlib.util.spec_from_file_location("label_worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(found: Any, side: int, head_angles: Any) -> bytes:
    """Return the reply for one picture."""
    if not found.face_landmarks:
        return b"\x00"
    points = [(p.x * side, p.y * side) for p in found.face_landmarks[0]]
    scores = found.face_blendshapes[0]
    if any(scores[k].category_name != name for k, name in NAMES.items()):
        raise ValueError(f"want blendshapes {NAMES}, got {[s.category_name for s in scores]}")
    angles = np.degrees(head_angles(found.facial_transformation_matrixes[0]))
    values = np.concatenate([np.ravel(points), [s.score for s in scores], angles])
    return b"\x01" + values.astype("<f4").tobytes()


def serve(model: Path, pictures: BinaryIO, replies: BinaryIO) -> None:
    """Answer pictures until there are no more."""
    import mediapipe as mp

    shared = label_worker()
    landmarker = shared.open_landmarker(model)
    replies.write(READY)
    replies.flush()
    while header := pictures.read(4):
        height, width = struct.unpack("<HH", header)
        rgb = np.frombuffer(pictures.read(height * width * 3), np.uint8)
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb.reshape(height, width, 3))
        replies.write(measured(landmarker.detect(image), height, shared.head_angles))
        replies.flush()


def main(model: str) -> int:
    """Run the worker."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print must not print into the replies
    try:
        serve(Path(model), sys.stdin.buffer, replies)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error}\n")
        return NO_MEDIAPIPE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
