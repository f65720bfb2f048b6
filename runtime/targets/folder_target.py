"""What all targets share that are given a folder and a command: everything but how to get there."""

from __future__ import annotations

import abc
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.folder import read_outputs, read_result, write_job
from pocketportrait.runtime.targets.protocol import Job, Outcome, Probe, TargetError, Traits
from pocketportrait.runtime.targets.record import Backend, Measure, ResultRecord


@dataclass
class Pushed:
    """A job on its way: its folder here, and what the target remembers about it."""

    folder: Path
    remote: str = ""  # where the folder is over there
    said: str = ""  # the end of what the runner printed


class FolderTarget(abc.ABC):
    """A target that runs the archive of `archive.py` on a folder."""

    def __init__(self, name: str, traits: Traits, engines: dict[str, str]) -> None:
        """Remember what this target is; nothing is looked for yet.

        Args:
            name: as it is written on the command line.
            traits: what it can be asked for.
            engines: what runs files there, by format.

        """
        self.name, self.traits, self._engines = name, traits, engines
        self._pushed: dict[str, Pushed] = {}

    def engine(self, format: str) -> str:
        """Return the name of what runs files of a format there."""
        return self._engines[format]

    @abc.abstractmethod
    def probe(self) -> Probe:
        """Say whether it can be used now; changes nothing."""

    def push(self, job: Job) -> None:
        """Write the job's folder and bring it there.

        Raises:
            MissingToolError: the target is not there.
            TargetError: the folder does not get there.

        """
        probe = self.probe()
        if probe.reason is not None:
            raise MissingToolError(probe.reason)
        folder = Path(tempfile.mkdtemp(prefix="pocketportrait-job-"))
        self._pushed[job.nonce] = pushed = Pushed(folder)
        threads = self._threads(job)
        engine, measure = self.engine(job.format), self._measure(job)
        write_job(folder, job, engine, measure, threads, self._backend())
        self._send(pushed)

    def run(self, job: Job) -> None:
        """Run the archive on the folder.

        Raises:
            TargetError: it vanished, or took longer than the job may.

        """
        self._execute(self._pushed[job.nonce], job.timeout_s)

    def pull(self, job: Job) -> Outcome:
        """Bring the report back and believe it only if it is whole and of this job.

        Raises:
            InputError: the engine refused the file, or its tensors are not what the manifest says.
            TargetError: the report is missing, cut off, foreign, or its hashes differ.

        """
        pushed = self._pushed[job.nonce]
        self._fetch(pushed)
        result = read_result(self.name, pushed.folder, pushed.said)
        cost, note = self._cost(pushed, result)
        return Outcome(
            target=self.name,
            emulated=self.traits.emulated,
            outputs=read_outputs(pushed.folder, result, job),
            device=result.device,
            timings=result.timings,
            cost=cost,
            cost_note=note,
            peak_rss_bytes=None if self.traits.emulated else result.peak_rss_bytes,
            residency=result.residency,
        )

    def discard(self, job: Job) -> None:
        """Remove the folder, here and there; never raises."""
        pushed = self._pushed.pop(job.nonce, None)
        if pushed is not None:
            self._remove(pushed)
            shutil.rmtree(pushed.folder, ignore_errors=True)

    def _measure(self, job: Job) -> Measure:
        if not self.traits.can_latency:
            return "marks" if self.traits.cost_unit else "nothing"
        return "time"

    def _threads(self, job: Job) -> int | None:
        return job.threads

    def _backend(self) -> Backend | None:
        return None

    def _send(self, pushed: Pushed) -> None:
        """Bring the folder there; a target that sees this machine's disk has nothing to do."""
        return None

    @abc.abstractmethod
    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        """Run the archive there and remember what it said; its exit status is not believed."""

    def _fetch(self, pushed: Pushed) -> None:
        """Bring the report and outputs into the folder here."""
        return None

    def _remove(self, pushed: Pushed) -> None:
        """Remove what lies over there; never raises."""
        return None

    def _cost(self, pushed: Pushed, result: ResultRecord) -> tuple[int | None, str]:
        """Return the cost of a pass, or None and why there is none."""
        return None, ""


def too_slow(name: str, timeout_s: float) -> TargetError:
    """Return the error of a job that was stopped because it took too long."""
    return TargetError(f"{name}: want a result within {timeout_s:.0f} s, got none; it was stopped")
