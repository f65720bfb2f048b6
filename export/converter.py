"""Running other projects' converters: silent while they work, quoted when they fail."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import IO

from pocketportrait.errors import ConverterError, InputError, MissingToolError, PortraitError

EXTRA = "export"
NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
QUOTED_LINES = 5  # of what a converter printed before it failed


@contextlib.contextmanager
def converter(name: str, extra: str = EXTRA) -> Iterator[None]:
    """Import and run a converter inside: nothing reaches the terminal unless it fails.

    The process's own output is redirected, because half of the noise comes from C++. Draw no
    progress bar from another thread meanwhile.

    Args:
        name: what the converter calls itself.
        extra: the extra that installs it.

    Raises:
        InputError: the disk is full or read only.
        MissingToolError: a package is not installed.
        ConverterError: it failed; the message quotes it.

    """
    with tempfile.TemporaryFile() as said:
        try:
            with _silence(said), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except PortraitError:
            raise
        except ModuleNotFoundError as error:
            package = (error.name or str(error)).partition(".")[0]
            raise MissingToolError.for_extra(package, extra) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_PLACE:
                raise InputError(
                    f"{name}: want a writable place, got: {error.strerror}; nothing was written"
                ) from error
            said.seek(0)
            words = said.read().decode(errors="replace").split("\n")
            last = [line.strip() for line in words if line.strip()][-QUOTED_LINES:]
            quoted = "\n  ".join([f"{type(error).__name__}: {error}", *last])
            raise ConverterError(f"{name} failed:\n  {quoted}") from error


@contextlib.contextmanager
def _silence(said: IO[bytes]) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(said.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
