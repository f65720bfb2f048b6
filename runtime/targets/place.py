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


def library_folders(usr_lib: Path) -> list[str]:
    """Return the folders of a `usr/lib` that was unpacked, for `LD_LIBRARY_PATH`.

    Some packages keep libraries in a folder of their own (PulseAudio's client does), which they find by
    a path that is absolute where they are installed.
    """
    shared = [folder for folder in usr_lib.glob("*-linux-gnu*") if folder.is_dir()]
    own = {file.parent for folder in shared for file in folder.glob("*/lib*.so*")}
    return [str(folder) for folder in (usr_lib, *sorted(shared), *sorted(own)) if folder.is_dir()]


def interpreter_of(environment: Path) -> Path:
    """Return where the interpreter of a Python environment lies."""
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"
