"""Where `targets install` puts what targets need."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDER_VARIABLE = "POCKETPORTRAIT_TARGETS"


def targets_folder() -> Path:
    """Return the folder of installed targets: of `POCKETPORTRAIT_TARGETS`, or in the user's cache."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pocketportrait" / "targets"


def interpreter_of(environment: Path) -> Path:
    """Return where the interpreter of a Python environment lies."""
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"
