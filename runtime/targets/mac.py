"""Core ML on the part of a Mac's chip that is asked for, with Core ML's own plan of what runs where."""

from __future__ import annotations

from pocketportrait.errors import InputError
from pocketportrait.runtime.coreml_plan import plan_line
from pocketportrait.runtime.coreml_runner import CoremlRunner, Units
from pocketportrait.runtime.runner import Runner
from pocketportrait.runtime.targets.local import LocalTarget
from pocketportrait.runtime.targets.protocol import Job

# where Core ML may place operations; the CPU takes what the other unit does not
MAC_UNITS: dict[str, Units] = {
    "local:coreml": "ALL",
    "mac:cpu": "CPU_ONLY",
    "mac:gpu": "CPU_AND_GPU",
    "mac:ne": "CPU_AND_NE",
}


class MacTarget(LocalTarget):
    """Core ML in this process, kept to some of the chip's units."""

    def __init__(self, name: str) -> None:
        """Stand for one of `MAC_UNITS`."""
        super().__init__("coreml")
        self.name = name
        self._units = MAC_UNITS[name]

    def _open(self, job: Job) -> Runner:
        return CoremlRunner(job.model, units=self._units)

    def _residency(self, runner: Runner) -> str:
        assert isinstance(runner, CoremlRunner)
        try:
            return plan_line(runner.operators_by_unit())
        except InputError as error:
            return f"not told: {error}"  # an older macOS; figures stand without it
