"""Reading faces for scoring: landmarks by MediaPipe out of process, identity by a network in process.

MediaPipe brings an OpenCV that shares a folder with ours, so it lives in an environment of its own; the
models are the user's and are never bundled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError, PortraitError
from pocketportrait.validation.face_worker import NO_MEDIAPIPE, READY
from pocketportrait.validation.identity import IdentityNetwork
from pocketportrait.validation.portrait_faces import (
    NUM_ANGLES,
    NUM_BLENDSHAPES,
    NUM_POINTS,
    FaceReading,
)

LANDMARKER = "face_landmarker_v2_with_blendshapes.task"
IDENTITY = "MobileFaceNet.onnx"
PYTHON_VARIABLE = "POCKETPORTRAIT_SCORE_PYTHON"
WORKER = Path(__file__).with_name("face_worker.py")
KEPT_READINGS = 512  # a driver that is played forth and back is read once
VALUES = 2 * NUM_POINTS + NUM_BLENDSHAPES + NUM_ANGLES


def score_python(given: Path | None = None) -> Path:
    """Return the interpreter that has MediaPipe: the given one, the variable's, or our own.

    Args:
        given: an interpreter, or the folder of its environment.

    Raises:
        InputError: there is no interpreter.

    """
    named = given or (Path(value) if (value := os.environ.get(PYTHON_VARIABLE)) else None)
    if named is None:
        return Path(sys.executable)
    python = named / "bin" / "python" if named.is_dir() else named
    if not python.is_file():
        raise InputError(
            f"{named}: want an environment with MediaPipe or its interpreter, got none there;"
            f" name one with --score-python or {PYTHON_VARIABLE}"
        )
    return python


class FaceReader:
    """Reads faces one picture at a time; entering it starts the worker, leaving it ends the worker."""

    def __init__(self, models: Path, python: Path | None = None) -> None:
        """Find the models; nothing is loaded yet.

        Args:
            models: a folder with `LANDMARKER` and, for identity, `IDENTITY`.
            python: see `score_python`.

        Raises:
            InputError: no landmarker in the folder, or no interpreter.

        """
        self._landmarker = models / LANDMARKER
        if not self._landmarker.is_file():
            raise InputError(
                f"{models}: want a folder with {LANDMARKER}, got none there;"
                " name the right one with --score-models, or leave it out to skip face figures"
            )
        self._python = score_python(python)
        identity = models / IDENTITY
        self._identity_file = identity if identity.is_file() else None
        self._identity: IdentityNetwork | None = None
        self._kept: OrderedDict[bytes, FaceReading | None] = OrderedDict()
        self._stack = ExitStack()

    @property
    def knows_identity(self) -> bool:
        """Say whether readings can have an identity."""
        return self._identity_file is not None

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of the models that are used."""
        folder = self._landmarker.parent
        files = [folder / name for name in (LANDMARKER, IDENTITY, f"{IDENTITY}.data")]
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}

    def __enter__(self) -> Self:
        """Load the models.

        Raises:
            MissingToolError: the interpreter has no MediaPipe.
            PortraitError: the worker does not start.

        """
        if self._identity_file:
            self._identity = IdentityNetwork(self._identity_file)
        with ExitStack() as stack:
            self._complaints = stack.enter_context(tempfile.TemporaryFile())
            self._process = self._start()
            stack.callback(self._end)
            if self._receive(len(READY)) != READY:
                raise PortraitError(f"{self._python}: the face reader did not start as it should")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the worker."""
        self._stack.close()

    def read(self, picture: Array, *, identity: bool = False) -> FaceReading | None:
        """Read one picture.

        Args:
            picture: uint8 [256, 256, 3].
            identity: embed the face too, where there is a network for it.

        Returns:
            what was read, or None where no face is found.

        Raises:
            PortraitError: the worker died.

        """
        key = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
        reading = self._kept[key] if key in self._kept else self._ask(picture)
        if reading and identity and self._identity and reading.identity is None:
            reading = replace(reading, identity=self._identity.embed(picture, reading.points))
        self._kept[key] = reading
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT_READINGS:
            self._kept.popitem(last=False)
        return reading

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [str(self._python), str(WORKER), str(self._landmarker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
            )
        except OSError as error:
            raise InputError(
                f"{self._python}: want a Python interpreter, got a file that does not run"
                f" ({error.strerror}); name another"
            ) from error

    def _ask(self, picture: Array) -> FaceReading | None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<HH", *picture.shape[:2]) + picture.tobytes())
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error
        if self._receive(1) == b"\x00":
            return None
        values = np.frombuffer(self._receive(4 * VALUES), "<f4").astype(np.float64)
        points, blendshapes, pose = np.split(
            values, [2 * NUM_POINTS, 2 * NUM_POINTS + NUM_BLENDSHAPES]
        )
        return FaceReading(points.reshape(NUM_POINTS, 2), blendshapes, pose)

    def _receive(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise self._died()
        return data

    def _died(self) -> PortraitError:
        code = self._process.wait()
        if code == NO_MEDIAPIPE:
            return MissingToolError(
                f"{self._python} has no MediaPipe; make an environment of its own (it cannot share one"
                " with the face detector): python3 -m venv .venv-score && .venv-score/bin/pip install"
                f" mediapipe==1.2.2; then pass --score-python .venv-score or set {PYTHON_VARIABLE}"
            )
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()
        return PortraitError(
            f"{self._python}: the face reader ended with exit code {code}:"
            f" {said[-1] if said else 'no message'}"
        )

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it may be gone already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
