"""Putting a finished folder in its place in one step, as `atomic` does for files."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path

from pocketportrait import atomic

OLD = "replaced"  # in the name of what stands aside


def sync(folder: Path) -> None:
    """Give every file in a folder usual rights, and bring all of it to the disk."""
    rights = 0o666 & ~atomic.umask()
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            path.chmod(rights)  # some converters write files that only we may read
        atomic.sync(path)


def take_place(new: Path, target: Path) -> None:
    """Put the folder `new` where `target` is; what stood there is removed.

    On Linux and macOS the two are exchanged in one step. Where the disk cannot do that, a kill
    between two renames leaves the old folder under a hidden name, for `restore`.
    """
    if not target.exists():
        new.rename(target)
    elif _exchange(new, target):
        atomic.sync(target.parent)
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = target.with_name(f".{target.name}.{OLD}")
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    atomic.sync(target.parent)


def restore(target: Path) -> None:
    """Bring back what a kill between the two renames of `take_place` left, or remove what it replaced."""
    old = target.with_name(f".{target.name}.{OLD}")
    if old.is_dir():
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(target)


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
