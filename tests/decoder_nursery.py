"""Decoder processes forked from one that has imported everything: a start costs 10 ms, not 300.

Hundreds of tests read a photo or a video, and each file has a decoder process of its own. What such a
process is by itself, with its interpreter and imports, tests/test_media_decoder.py shows with real
starts (`fresh_decoders`), as does every test that runs a command in a process.

A guardian stands between nursery and decoder: it tells the decoder's id and, at the end, its status.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 2**17  # of a message: an environment
WORKER = "pocketportrait.media.decoder_worker"


class Nursery:
    """The process that decoders are forked from; it starts with the first of them."""

    PIPE = subprocess.PIPE  # this object stands where `media.decoder` sees the module subprocess

    def __init__(self) -> None:
        self._asking: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def Popen(
        self, command: Sequence[Any], *, stderr: IO[bytes], env: Mapping[str, str], **_: Any
    ) -> Forked:
        """Fork a decoder in place of starting `python -P -m WORKER ...`."""
        _, _, _, worker, *arguments = map(str, command)
        assert worker == WORKER
        asking = self._asking or self._start()
        taken, given = os.pipe()
        got, told = os.pipe()
        ours, guardians = socket.socketpair()
        wish = json.dumps([arguments, dict(env), str(Path.cwd())]).encode()
        assert len(wish) <= MOST_BYTES
        theirs = [taken, told, stderr.fileno(), guardians.fileno()]
        socket.send_fds(asking, [wish], theirs)
        os.close(taken)
        os.close(told)
        guardians.close()
        return Forked(ours, os.fdopen(given, "wb", buffering=0), os.fdopen(got, "rb", buffering=0))

    def close(self) -> None:
        """End the process."""
        if self._asking is not None and self._process is not None:
            self._asking.close()
            self._process.wait(10)

    def _start(self) -> socket.socket:
        self._asking, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join(p for p in sys.path if p)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(other.fileno())],
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )
        other.close()
        return self._asking


class Forked:
    """What `media.decoder` uses of `subprocess.Popen`, for a forked decoder."""

    def __init__(self, guardian: socket.socket, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._guardian, self.stdin, self.stdout = guardian, stdin, stdout
        self.pid = int(guardian.recv(16))
        self.returncode: int | None = None

    def kill(self) -> None:
        """Kill the decoder; its id is its own until `wait` has heard of its end."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return the exit status, or the signal as a negative number."""
        if self.returncode is None:
            self.returncode = int(self._guardian.recv(16))
            self._guardian.close()
        return self.returncode


def serve(asked: socket.socket) -> None:
    """Fork a guardian for every message until nobody asks any more."""
    from pocketportrait.media import (  # noqa: F401 (for those who are forked)
        decoder_worker,
        photo_decoding,
        sound_decoding,
        video_decoding,
    )

    guardians: list[int] = []
    while True:
        wish, descriptors, *_ = socket.recv_fds(asked, MOST_BYTES, 4)
        guardians = [pid for pid in guardians if os.waitpid(pid, os.WNOHANG)[0] == 0]
        if not wish:
            return
        pid = os.fork()
        if pid == 0:
            asked.close()
            guard(json.loads(wish), descriptors)
        guardians.append(pid)
        for descriptor in descriptors:
            os.close(descriptor)


def guard(wish: Any, descriptors: list[int]) -> None:
    """Fork the decoder and tell what becomes of it; this process ends here."""
    asker = socket.socket(fileno=descriptors.pop())
    pid = os.fork()
    if pid == 0:
        asker.close()
        decode(*wish, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    asker.send(str(pid).encode())
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    try:
        asker.send(str(status).encode())
        asker.recv(1)  # the id stays taken until the asker has heard of the end
    finally:
        os.waitpid(pid, 0)
        os._exit(0)


def decode(
    arguments: list[str], environment: dict[str, str], folder: str, descriptors: list[int]
) -> None:
    """Be a decoder with these streams; this process ends here."""
    from pocketportrait.media import decoder_worker

    status = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        status = decoder_worker.main(arguments)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
