"""The device's side of adb over TCP: enough for the real client to connect, list, push, pull and run a shell.

Written from the protocol's description (system/core/adb: OVERVIEW, SYNC, protocol.h): transport packets of
24 bytes and a payload, a stream for every service, the sync service for files, the shell service v2.
It can be told to vanish, to have a small disk, and to change a device's files behind the runner's back.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

VERSION, LARGEST = 0x01000001, 256 * 1024
FEATURES = "shell_v2,cmd,stat_v2"
FULL = "No space left on device"
Hook = Callable[["Device", str], None]


def do_nothing(device: Device, command: str) -> None:
    """Let a device be as it is."""


@dataclass
class Device:
    """A device: where its files really lie, what its shell is, and what befalls it."""

    root: Path  # device paths lie in here
    shell: list[str]  # called with one more argument, the command
    inside: str = "/data/local/tmp"  # no path outside is served
    environment: Mapping[str, str] = field(default_factory=dict)
    free_bytes: int = 1 << 40
    before: Hook = do_nothing  # called with every shell command, before it runs
    after: Hook = do_nothing  # and once it has run, before the client learns of it
    commands: list[str] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)  # of hooks, or of this daemon
    alive: bool = True

    def real(self, path: str) -> Path:
        """Return where a path of the device really lies."""
        whole = os.path.normpath(path)
        if whole != self.inside and not whole.startswith(f"{self.inside}/"):
            raise PermissionError(13, "Permission denied", path)
        return self.root / whole.lstrip("/")


class Daemon:
    """A listening daemon of one device; its serial is `127.0.0.1:PORT`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.serial = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.vanish()

    def vanish(self) -> None:
        """Cut every connection, as a cable that is pulled out does."""
        self.device.alive = False
        for each in (self._server, *self._sockets):
            with contextlib.suppress(OSError):  # was not connected
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while self.device.alive:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(connection)
            threading.Thread(target=_Connection(connection, self.device).serve, daemon=True).start()


class _Connection:
    """One client: packets in and out, a stream for every service that it opened."""

    def __init__(self, connection: socket.socket, device: Device) -> None:
        self._socket, self.device = connection, device
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def send(self, name: bytes, one: int, two: int, payload: bytes = b"") -> None:
        code = int.from_bytes(name, "little")
        check = sum(payload) & 0xFFFFFFFF
        head = struct.pack("<6I", code, one, two, len(payload), check, code ^ 0xFFFFFFFF)
        with self._lock:
            self._socket.sendall(head + payload)

    def serve(self) -> None:
        try:
            while True:
                code, one, two, size, _, _ = struct.unpack("<6I", self._read(24))
                self._take(code.to_bytes(4, "little"), one, two, self._read(size))
        except (EOFError, OSError):
            for stream in self._streams.values():
                stream.end()

    def _read(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            part = self._socket.recv(size - len(content))
            if not part:
                raise EOFError
            content += part
        return bytes(content)

    def _take(self, name: bytes, theirs: int, ours: int, payload: bytes) -> None:
        if name == b"CNXN":
            banner = f"device::ro.product.name=portrait;features={FEATURES}\0"
            self.send(b"CNXN", VERSION, LARGEST, banner.encode())
        elif name == b"OPEN":
            number = len(self._streams) + 1
            stream = _Stream(self, number, theirs, payload.rstrip(b"\0").decode())
            self._streams[number] = stream
            threading.Thread(target=stream.serve, daemon=True).start()
        elif ours not in self._streams:
            return
        elif name == b"WRTE":
            self.send(b"OKAY", ours, theirs)
            self._streams[ours].feed(payload)
        elif name == b"OKAY":
            self._streams[ours].credit.release()
        elif name == b"CLSE":
            self._streams[ours].end()


class _Stream:
    """One service: bytes both ways, one packet at a time."""

    def __init__(self, connection: _Connection, ours: int, theirs: int, service: str) -> None:
        self._connection, self._ours, self._theirs = connection, ours, theirs
        self._service = service
        self._device = connection.device
        self._content = bytearray()
        self._news = threading.Condition()
        self._ended = False
        self.credit = threading.Semaphore(1)

    def feed(self, payload: bytes) -> None:
        with self._news:
            self._content += payload
            self._news.notify_all()

    def end(self) -> None:
        with self._news:
            self._ended = True
            self._news.notify_all()
        self.credit.release()

    def get(self, size: int) -> bytes:
        with self._news:
            while len(self._content) < size:
                if self._ended:
                    raise EOFError
                self._news.wait()
            part = bytes(self._content[:size])
            del self._content[:size]
            return part

    def put(self, payload: bytes) -> None:
        for start in range(0, len(payload), LARGEST):
            self.credit.acquire()
            if self._ended:
                raise EOFError
            self._connection.send(
                b"WRTE", self._ours, self._theirs, payload[start : start + LARGEST]
            )

    def serve(self) -> None:
        try:
            self._connection.send(b"OKAY", self._ours, self._theirs)
            kind, _, rest = self._service.partition(":")
            if kind.startswith("shell,v2"):
                self._shell(rest)
            elif kind == "sync":
                _Sync(self, self._device).serve()
            self.credit.acquire()  # the client has taken the last packet
            self._connection.send(b"CLSE", self._ours, self._theirs)
        except (EOFError, OSError):
            return  # the client, or the device, has gone away
        except Exception as error:
            self._device.problems.append(error)
            self._connection.send(b"CLSE", self._ours, self._theirs)

    def _shell(self, command: str) -> None:
        self._device.commands.append(command)
        self._device.before(self._device, command)
        if not self._device.alive:
            return
        done = subprocess.run(
            [*self._device.shell, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"PATH": os.environ["PATH"], **self._device.environment},
            check=False,
        )
        self._device.after(self._device, command)
        for number, text in ((1, done.stdout), (2, done.stderr)):
            for start in range(0, len(text), LARGEST // 2):
                part = text[start : start + LARGEST // 2]
                self.put(struct.pack("<BI", number, len(part)) + part)
        self.put(struct.pack("<BIB", 3, 1, done.returncode & 255))


class _Sync:
    """The service of files."""

    def __init__(self, stream: _Stream, device: Device) -> None:
        self._stream, self._device = stream, device

    def serve(self) -> None:
        while True:
            name, size = struct.unpack("<4sI", self._stream.get(8))
            if name == b"QUIT":
                return
            path = self._stream.get(size).decode()
            if name == b"SEND":
                self._receive(path.rpartition(",")[0])
            elif name == b"RECV":
                self._send(path)
            elif name == b"LIST":
                self._stream.put(struct.pack("<4s4I", b"DONE", 0, 0, 0, 0))  # no folder is pulled
            elif name == b"STAT":
                facts = self._facts(path)
                mode, bytes_, time = (facts.st_mode, facts.st_size, 0) if facts else (0, 0, 0)
                self._stream.put(struct.pack("<4sIII", name, mode, bytes_, time))
            else:
                self._stat(name, path)

    def _facts(self, path: str) -> os.stat_result | None:
        try:
            return self._device.real(path).stat()
        except OSError:
            return None

    def _stat(self, name: bytes, path: str) -> None:
        facts = self._facts(path)
        values = [0] * 10
        if facts:
            values = [1, facts.st_ino, facts.st_mode, facts.st_nlink, 2000, 2000, facts.st_size]
            values += [0, 0, 0]
        self._stream.put(struct.pack("<4sIQQIIIIQqqq", name, 0 if facts else 2, *values))

    def _receive(self, path: str) -> None:
        content = bytearray()
        while True:
            name, size = struct.unpack("<4sI", self._stream.get(8))
            if name == b"DONE":
                break
            content += self._stream.get(size)
        problem = self._write(path, bytes(content))
        head = b"FAIL" if problem else b"OKAY"
        self._stream.put(head + struct.pack("<I", len(problem)) + problem.encode())

    def _write(self, path: str, content: bytes) -> str:
        if len(content) > self._device.free_bytes:
            return FULL
        try:
            real = self._device.real(path)
            real.parent.mkdir(parents=True, exist_ok=True)
            real.write_bytes(content)
        except OSError as error:
            return str(error.strerror)
        self._device.free_bytes -= len(content)
        return ""

    def _send(self, path: str) -> None:
        try:
            content = self._device.real(path).read_bytes()
        except OSError as error:
            problem = str(error.strerror).encode()
            self._stream.put(b"FAIL" + struct.pack("<I", len(problem)) + problem)
            return
        for start in range(0, len(content), 65536):
            part = content[start : start + 65536]
            self._stream.put(struct.pack("<4sI", b"DATA", len(part)) + part)
        self._stream.put(struct.pack("<4sI", b"DONE", 0))
