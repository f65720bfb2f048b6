"""JSON and TOML from strangers: of limited size, and nested too deeply is an error like any other."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pocketportrait import limits
from pocketportrait.errors import InputError


def read_document(path: Path, what: str) -> Any:
    """Return what a JSON file holds, or a TOML file if its name ends so.

    Args:
        path: the file.
        what: it should be, for the message.

    Raises:
        InputError: missing, too large, or neither.

    """
    limits.current().check_file("document_bytes", path)
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: want {what}, got: {reason}; check the file") from error
    return parse_document(text, f"{path}: want {what}", toml=path.suffix == ".toml")


def parse_document(text: str, wanted: str, *, toml: bool = False) -> Any:
    """Return what JSON or TOML says.

    Args:
        text: the document.
        wanted: the beginning of the message, such as `a.json: want a recipe`.
        toml: whether it is TOML.

    Raises:
        InputError: it is none.

    """
    try:
        return tomllib.loads(text) if toml else json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        kind = "TOML" if toml else "JSON"
        raise InputError(f"{wanted}, got no {kind}: {reason}") from error
