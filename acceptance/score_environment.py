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

from pocketportrait.errors import InputError
from pocketportrait.validation import face_reader

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-score"
PACKAGES = ("mediapipe==1.2.2", "onnxruntime==1.31.1", "av", "opencv-contrib-python", "numpy")


def score_python() -> Path:
    """Return the scorer's interpreter; its environment is made on first use."""
    if os.environ.get(face_reader.PYTHON_VARIABLE):
        try:
            return face_reader.score_python()
        except InputError as error:
            sys.exit(f"error: {error}")
    python, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = "\n".join(PACKAGES)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        venv.create(FOLDER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    print(score_python())
