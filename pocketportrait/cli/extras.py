"""A missing extra is one line that names the command to install it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pocketportrait.errors import MissingToolError


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn the failed import of another project's package into the line that installs `extra`.

    Raises:
        MissingToolError: a package that the block imports is not installed.

    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        if package == "pocketportrait":
            raise
        raise MissingToolError.for_extra(package, extra) from error
