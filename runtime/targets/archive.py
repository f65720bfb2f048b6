"""The archive that a device runs: this package's runners and nothing that they do not need, in one .pyz."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from pocketportrait import atomic

ARCHIVE = "pocketportrait_runner.pyz"
EPOCH = (1980, 1, 1, 0, 0, 0)
MODULES = (
    "pocketportrait",
    "pocketportrait.contract",
    "pocketportrait.errors",
    "pocketportrait.runtime",
    "pocketportrait.runtime.feed",
    "pocketportrait.runtime.file_runner",
    "pocketportrait.runtime.layout",
    "pocketportrait.runtime.litert_runner",
    "pocketportrait.runtime.onnx_runner",
    "pocketportrait.runtime.targets",
    "pocketportrait.runtime.targets.device",
    "pocketportrait.runtime.targets.passes",
)
START = """\
import sys
from pocketportrait.runtime.targets.device import main
sys.exit(main(sys.argv[1:]))
"""


def write_archive(path: Path) -> None:
    """Write the archive; equal sources give equal bytes."""
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for module in MODULES:
            spec = importlib.util.find_spec(module)
            assert spec is not None
            assert spec.origin is not None
            inside = module.replace(".", "/")
            inside += "/__init__.py" if spec.submodule_search_locations else ".py"
            archive.writestr(zipfile.ZipInfo(inside, EPOCH), Path(spec.origin).read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py", EPOCH), START)
