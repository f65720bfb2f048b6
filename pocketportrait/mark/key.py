"""Private keys of the mark: any file with enough in it that nobody can guess."""

from __future__ import annotations

from pathlib import Path

from pocketportrait.errors import InputError

LEAST_BYTES, MOST_BYTES = 16, 4096


def read_key(path: Path) -> bytes:
    """Read a private key, without the blanks around it.

    Raises:
        InputError: the file cannot be read, or is too short or too long to be a key.

    """
    try:
        with path.open("rb") as file:
            key = file.read(MOST_BYTES + 1).strip()
    except OSError as error:
        raise InputError(f"{path}: want a key file, got: {error.strerror}") from error
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise InputError(
            f"{path}: want a key of {LEAST_BYTES} to {MOST_BYTES} bytes, got {len(key)};"
            " 32 random bytes in hexadecimal do"
        )
    return key
