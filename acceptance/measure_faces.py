"""Measure the face in every frame of clips, in the scorer's environment: run by other checks, by path.

    python measure_faces.py SCORE.py CLIP...

Prints one JSON line a clip: a list with, per frame, pose (yaw, pitch, roll in degrees) and the 52
blendshapes, or null where no face is found.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any


def load(path: str) -> Any:
    """Return the scorer as a module."""
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(scorer: str, clips: list[str]) -> None:
    """Run."""
    score = load(scorer)
    face = score.Face()
    for clip in clips:
        found = [face.read(frame) for frame in score.read_clip(clip)]
        rows = [f and {"pose": f["pose"].tolist(), "blend": f["blend"].tolist()} for f in found]
        sys.stdout.write(json.dumps(rows) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
