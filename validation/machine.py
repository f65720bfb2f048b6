"""The machine that measured: figures mean little without it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pocketportrait.runtime.targets.device import apple_processor

ENGINES = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "coremltools", "numpy")


class Machine(BaseModel):
    """What a reader needs to compare figures from two machines; no names, no paths."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    architecture: str
    processor: str
    cores: int  # that this process may use; 0 where the machine does not tell
    python: str
    engines: dict[str, str]

    def line(self) -> str:
        """Return the machine in one line."""
        cores = f"{self.cores} cores, " if self.cores else ""
        return f"{self.processor}, {cores}{self.system} {self.architecture}".rstrip()


def describe_machine() -> Machine:
    """Return the facts of this machine."""
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=_cores(),
        python=platform.python_version(),
        engines={name: version for name in ENGINES if (version := _version(name))},
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    return apple_processor() or platform.processor() or "unknown processor"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
