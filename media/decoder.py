"""A file from a stranger is decoded in a process of its own; this is the side that asks.

The process has a limit of memory, each of its answers one of time, and it dies without harm here. An
answer is one line of JSON, and behind it the bytes of a picture where the line tells a shape.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from pocketportrait import limits
from pocketportrait.contract import Array
from pocketportrait.errors import InputError

WORKER = "pocketportrait.media.decoder_worker"
PIPE_BYTES = 2**20  # what Linux allows everybody; by default a pipe holds 64 KiB
MOST_LINE_BYTES = 2**16
SHOWN_CHARACTERS = 300  # of what a dying process said

Kind = Literal["photo", "video", "plain", "sound"]


class Decoder:
    """A process that decodes one file; it ends with this object, or at the first trouble."""

    def __init__(self, kind: Kind, path: Path, *arguments: str) -> None:
        """Start the process.

        Args:
            kind: what the file is read as.
            path: the file.
            arguments: more for the worker's function of that kind.

        """
        self._path = path
        self._limits = limits.current()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (`_end` closes it)
        # modules are found as this process finds them, and never in the folder that it stands in
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, kind, path, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            bufsize=0,
        )
        self._end = weakref.finalize(self, _end, self._process, self._said)
        assert self._process.stdout is not None
        self._answers = self._process.stdout.fileno()
        _widen(self._answers)
        self._read_ahead = b""

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send the process a line; that it died shows in its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except OSError:
            return

    def answer(self) -> dict[str, Any]:
        """Return the next line.

        Raises:
            InputError: what the process says of the file, or that it died, or took too long.

        """
        deadline = self._deadline()
        while b"\n" not in self._read_ahead:
            if len(self._read_ahead) > MOST_LINE_BYTES:
                raise self._failed("an answer without an end")
            got = self._some(MOST_LINE_BYTES, deadline)
            if not got:
                raise self._failed("")
            self._read_ahead += got
        line, _, self._read_ahead = self._read_ahead.partition(b"\n")
        try:
            said = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._failed("an answer that is none") from error
        if "error" in said:
            self.close()
            raise InputError(str(said["error"]))
        return said

    def picture(self, said: Mapping[str, Any], most_pixels: int) -> Array:
        """Return the picture that follows a line: uint8 [H, W, 3].

        Raises:
            InputError: the process told no size or one above `most_pixels`, died, or took too long.

        """
        shape: Any = said.get("shape")
        sound = (
            isinstance(shape, list)
            and len(shape) == 3
            and all(isinstance(n, int) and n > 0 for n in shape)
            and shape[2] == 3
            and math.prod(shape) <= 3 * most_pixels
        )
        if not sound:
            raise self._failed(f"a picture of {shape}")
        picture = np.empty(shape, np.uint8)
        view = picture.data.cast("B")
        ahead = min(len(self._read_ahead), len(view))
        view[:ahead] = self._read_ahead[:ahead]
        self._read_ahead = self._read_ahead[ahead:]
        view, deadline = view[ahead:], self._deadline()
        while view:
            self._wait(deadline)
            count = os.readv(self._answers, [view])
            if not count:
                raise self._failed("")
            view = view[count:]
        return picture

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes as they come, b"" at the end: what a reader of files wants.

        Raises:
            InputError: the process took too long.

        """
        if self._read_ahead:
            got, self._read_ahead = self._read_ahead[:size], self._read_ahead[size:]
            return got
        return self._some(size, self._deadline())

    def close(self) -> None:
        """End the process."""
        self._end()

    def _some(self, size: int, deadline: float) -> bytes:
        self._wait(deadline)
        return os.read(self._answers, size)

    def _deadline(self) -> float:
        return time.monotonic() + self._limits.decoder_seconds

    def _wait(self, deadline: float) -> None:
        if sys.platform == "win32":
            return  # its pipes cannot be waited for: no limit of time there
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            self.close()
            raise InputError(
                f"{self._path}: want each picture within {self._limits.decoder_seconds} s, got none;"
                " if you trust it: pocketportrait --limit decoder_seconds=N ..."
            )

    def _failed(self, got: str) -> InputError:
        """Return the error of a process that died or answers nonsense; it is ended."""
        if got:
            self.close()
            return InputError(f"{self._path}: could not be decoded: its decoder gave {got}")
        status = self._process.wait()
        self._said.seek(0)
        words = " ".join(self._said.read().decode(errors="replace").split())[-SHOWN_CHARACTERS:]
        self.close()
        if status < 0:
            words = signal.Signals(-status).name
        return InputError(
            f"{self._path}: could not be decoded: its decoder died ({words or f'status {status}'});"
            " record, convert or copy it again, or allow more memory:"
            " pocketportrait --limit decoder_bytes=N ..."
        )


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, said):
        if stream is not None:
            stream.close()
    process.wait()


def _widen(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return  # the user has many pipes: this one stays slower
