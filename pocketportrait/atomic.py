"""Writing so that a reader sees the old file or the new one, never half, whatever kills us.

A file in the making is locked by who writes it. What a killed process left behind is locked by nobody,
and the next writer of the same file removes it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pocketportrait.errors import InputError

MARK = "part-"  # in the names of what is being made
_RANDOM = "[0-9a-f]" * 8


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and takes `path`'s place.

    The temporary file keeps the suffix of `path`, because writers choose formats by it. On an
    exception it is removed and `path` stays as it was.

    Raises:
        InputError: the folder cannot be made or written to, or the disk is full.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
        temporary, held = _new(path)
    except OSError as error:
        raise InputError(
            f"{path}: want a writable place, got: {error.strerror}; choose another"
        ) from error
    try:
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: could not be written: {error.strerror or error}; nothing was changed"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(held)


@contextlib.contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Give a new empty folder beside `path`; what is left of it at the end is removed.

    Raises:
        InputError: the folder around it cannot be made or written to.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
        folder, held = _new(path, folder=True)
    except OSError as error:
        raise InputError(
            f"{path}: want a writable place, got: {error.strerror}; choose another"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def scratch_folder() -> contextlib.AbstractContextManager[Path]:
    """Give a folder among the system's temporary ones; those of killed processes are removed first.

    Raises:
        InputError: it cannot be made.

    """
    return making_folder(Path(tempfile.gettempdir(), "pocketportrait"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically.

    Raises:
        InputError: as `replacing`.

    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def beside(path: Path) -> Path:
    """Return a hidden name on the same disk that nothing uses; it keeps the suffix of `path`."""
    return path.with_name(f".{path.stem}.{MARK}{secrets.token_hex(4)}{path.suffix}")


def lock(path: Path) -> int | None:
    """Lock a file or folder that is being made, and return the handle that holds the lock.

    None if somebody else holds it, or cleared it away in the moment before.
    """
    handle = os.open(path, os.O_RDONLY)
    if _locked(handle) and path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
        return handle
    os.close(handle)
    return None


def clear_leftovers(path: Path) -> None:
    """Remove what killed writers of `path`, a file or a folder, left beside it."""
    if sys.platform == "win32":
        return  # a lock there would keep its own writer out
    pattern = f".{glob.escape(path.stem)}.{MARK}{_RANDOM}{glob.escape(path.suffix)}"
    for left in path.parent.glob(pattern):
        with contextlib.suppress(OSError):  # another process clears it, too
            handle = lock(left)
            if handle is None:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
            os.close(handle)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def umask() -> int:
    """Return the rights that new files do not get."""
    current = os.umask(0)
    os.umask(current)
    return current


def _new(path: Path, *, folder: bool = False) -> tuple[Path, int]:
    while True:
        temporary = beside(path)
        if folder:
            temporary.mkdir()
        else:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        handle = lock(temporary)
        if handle is not None:
            return temporary, handle


def _locked(handle: int) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
