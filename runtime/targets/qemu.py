"""An emulated 64-bit ARM machine: the real aarch64 engines under QEMU's user mode.

Parity is that of the real ARM kernels. Time under emulation means nothing and is never reported;
what a pass costs is counted in instructions instead, the same from run to run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
from pathlib import Path

from pocketportrait.runtime.targets.archive import ARCHIVE
from pocketportrait.runtime.targets.arm_profiles import PROFILES
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed, too_slow
from pocketportrait.runtime.targets.place import library_folders, targets_folder
from pocketportrait.runtime.targets.protocol import Job, Probe, Traits
from pocketportrait.runtime.targets.record import ResultRecord

QEMU_ARM64 = "qemu-arm64"  # the name that it is installed by
INSTALLED = "installed.json"  # written last
PLUGIN = "insncount.so"
COUNTS = "counts.txt"
ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
DEFAULT_CPU = "a76"


class QemuTarget(FolderTarget):
    """One emulated CPU."""

    def __init__(self, name: str, cpu: str, folder: Path | None = None) -> None:
        """Take a CPU of `arm_profiles.py`.

        Args:
            name: as it is written on the command line.
            cpu: a53 or a76.
            folder: where it is installed; by default where `targets install` puts it.

        """
        traits = Traits(tuple(ENGINES), True, False, "instructions", True)
        super().__init__(name, traits, ENGINES)
        self._cpu = PROFILES[cpu]
        self._home = folder or targets_folder() / QEMU_ARM64

    def probe(self) -> Probe:
        """Say whether it was installed."""
        if (self._home / INSTALLED).is_file():
            return Probe()
        return Probe(
            f"{self.name}: is not installed; run: pocketportrait targets install {QEMU_ARM64}"
        )

    def _threads(self, job: Job) -> int | None:
        return 1  # counting is exact for one thread only

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        plugin = self._home / PLUGIN
        counting = ["-plugin", f"{plugin},out={pushed.folder / COUNTS}"] if plugin.is_file() else []
        root = self._home / "cpu" / self._cpu.name
        (python,) = (self._home / "root" / "usr" / "bin").glob("python3.*[0-9]")
        command: list[str | Path] = [
            self._home / "host" / "usr" / "bin" / "qemu-aarch64",
            "-U",
            "LD_LIBRARY_PATH",  # for QEMU itself; the guest has libraries of its own
            "-cpu",
            self._cpu.qemu,
            "-L",
            root,
            *counting,
            python,
            pushed.folder / ARCHIVE,
            pushed.folder,
        ]
        try:
            ran = run_command(command, timeout_s=timeout_s, environment=self._environment())
        except subprocess.TimeoutExpired as error:
            raise too_slow(self.name, timeout_s) from error
        pushed.said = f"{ran.said}\n{ran.died_of}"

    def _environment(self) -> dict[str, str]:
        found = library_folders(self._home / "host" / "usr" / "lib")
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/"),
            "LD_LIBRARY_PATH": os.pathsep.join(found),
            "PYTHONPATH": str(self._home / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",  # the same instructions in every run
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def _cost(self, pushed: Pushed, result: ResultRecord) -> tuple[int | None, str]:
        if not (self._home / PLUGIN).is_file():
            return None, "no counter: it could not be built here; install gcc and install again"
        counts = pushed.folder / COUNTS
        readings = [int(r) for r in counts.read_text().split()] if counts.is_file() else []
        if not readings or len(readings) != 2 * result.marked_passes:
            return (
                None,
                f"want {2 * result.marked_passes} readings of the counter, got {len(readings)}",
            )
        passes = [
            after - before for before, after in zip(readings[::2], readings[1::2], strict=True)
        ]
        return round(statistics.median(passes)), ""
