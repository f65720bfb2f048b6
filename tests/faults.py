"""Faults at every border of writing: the n-th call that changes a disk fails, or is the last."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BORDERS = ("open", "mkdir", "fsync", "rename", "replace", "chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Borders:
    """Counts the calls that open for writing, sync or rename below a folder; lets one of them fail."""

    def __init__(self, folder: Path, fail_at: int | None, fault: Callable[[], None]) -> None:
        self.folder, self.fail_at, self.fault = str(folder), fail_at, fault
        self.count = 0
        self.names: list[str] = []

    def meet(self, name: str) -> None:
        """Pass a border, or fail at it."""
        self.names.append(name)
        self.count += 1
        if self.count - 1 == self.fail_at:
            self.fault()


def no_space() -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kill() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def borders(
    folder: Path, fail_at: int | None = None, fault: Callable[[], None] = no_space
) -> Iterator[Borders]:
    """Watch this process's calls that change files below a folder, as `os` and `pathlib` make them.

    Args:
        folder: others are left alone.
        fail_at: the call that meets the fault, from 0; None counts only.
        fault: what happens there.

    """
    seen = Borders(folder, fail_at, fault)
    real: dict[str, Any] = {name: getattr(os, name) for name in BORDERS}

    def concerns(target: object) -> bool:
        if isinstance(target, int):
            with contextlib.suppress(OSError):
                return str(Path(f"/proc/self/fd/{target}").readlink()).startswith(seen.folder)
            return False
        return os.path.abspath(os.fspath(target)).startswith(seen.folder)  # type: ignore[call-overload, no-any-return]  # noqa: PTH100

    def watched(name: str) -> Callable[..., Any]:
        def call(target: object, *arguments: Any, **named: Any) -> Any:
            reads = name == "open" and not (arguments and arguments[0] & WRITING)
            if not reads and concerns(target):
                seen.meet(name)
            return real[name](target, *arguments, **named)

        return call

    try:
        for name in BORDERS:
            setattr(os, name, watched(name))
        yield seen
    finally:
        for name, function in real.items():
            setattr(os, name, function)
