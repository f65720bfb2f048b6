"""Putting a finished folder in its place in one step, as `atomic` does for files."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from pathlib import Path


def beside(target: Path) -> Path:
    """Return a hidden name on the same disk that nothing uses; it keeps the suffix of `target`."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")


def sync(folder: Path) -> None:
    """Give every file in a folder usual rights, and bring all of it to the disk."""
    rights = 0o666 & ~_umask()
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            path.chmod(rights)  # some converters write files that only we may read
        _sync_one(path)


def take_place(new: Path, target: Path) -> None:
    """Put the folder `new` where `target` is; what stood there is removed.

    On Linux and macOS the two are exchanged in one step. Where the disk cannot do that, a kill
    between two renames leaves the old folder under the hidden name of `beside`.
    """
    if not target.exists():
        new.rename(target)
    elif _exchange(new, target):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = beside(target)
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    _sync_one(target.parent)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or its disk cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    at_cwd, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
    try:
        if sys.platform == "darwin":
            return bool(libc.renamex_np(a, b, swap) == 0)
        return bool(libc.renameat2(at_cwd, a, at_cwd, b, swap) == 0)
    except AttributeError:
        return False


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
