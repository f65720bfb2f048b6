"""The environment of the reference scorer: MediaPipe's OpenCV shares a folder with ours, so it lives apart.

    python acceptance/score_environment.py        make it if need be, and print its interpreter

`POCKETPORTRAIT_SCORE_PYTHON` names one that is there already: its folder, or its interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-score"
PACKAGES = ("mediapipe==1.2.2", "onnxruntime==1.31.1", "av", "opencv-contrib-python", "numpy")
VARIABLE = "POCKETPORTRAIT_SCORE_PYTHON"


def score_python() -> Path:
    """Return the scorer's interpreter; its environment is made on first use."""
    if given := os.environ.get(VARIABLE):
        path = Path(given)
        python = path / "bin" / "python" if path.is_dir() else path
        if not python.is_file():
            sys.exit(f"error: {VARIABLE}: want an environment or its interpreter, got {given}")
        return python
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = "\n".join(PACKAGES)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        venv.create(FOLDER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    print(score_python())
