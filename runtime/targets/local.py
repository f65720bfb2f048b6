"""The machine itself as a target: engines in this process, or in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import KINDS, Runner, available_runners, open_file
from pocketportrait.runtime.targets.archive import ARCHIVE
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.device import describe_device, peak_rss_bytes
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed, too_slow
from pocketportrait.runtime.targets.passes import run_passes
from pocketportrait.runtime.targets.place import interpreter_of, targets_folder
from pocketportrait.runtime.targets.protocol import Job, Outcome, Probe, Traits
from pocketportrait.runtime.targets.record import DeviceRecord, TimingsRecord

TFLITE_RUNTIME = "tflite-runtime"


class LocalTarget:
    """An engine in this very process; there is nothing to push, and nothing to distrust."""

    def __init__(self, runner: str) -> None:
        """Stand for a runner of `runtime/runner.py`, by its name there."""
        kind = KINDS[runner]
        self._runner = runner
        self.name = f"oracle:{kind.format}" if runner == "oracle" else f"local:{runner}"
        self.traits = Traits((kind.format,), True, not kind.emulated, "", kind.emulated)
        self._outcomes: dict[str, Outcome] = {}

    def engine(self, format: str) -> str:
        """Return the runner's name."""
        return self._runner

    def probe(self) -> Probe:
        """Say whether the engine is installed and works on this system."""
        (format,) = self.traits.formats
        return Probe(next(s.reason for s in available_runners(format) if s.name == self._runner))

    def push(self, job: Job) -> None:
        """Do nothing: the files are here."""

    def run(self, job: Job) -> None:
        """Run the job and keep what it gave.

        Raises:
            InputError: the engine refuses the file, or its tensors are not what the manifest says.
            MissingToolError: the engine is not installed.

        """
        inner = self._open(job)
        start = time.perf_counter()
        with ContractRunner(inner, job.graph, job.declared) as runner:
            load_ms = (time.perf_counter() - start) * 1000
            passes = run_passes(runner, job.feeds, warmup=job.warmup, repeats=job.repeats)
            residency = self._residency(inner)
        timings = TimingsRecord(
            load_ms=load_ms, first_ms=passes.first_ms, passes_ms=tuple(passes.passes_ms)
        )
        self._outcomes[job.nonce] = Outcome(
            target=self.name,
            emulated=self.traits.emulated,
            outputs=passes.outputs,
            device=DeviceRecord.model_validate(describe_device(self._runner)),
            timings=timings if self.traits.can_latency else None,
            peak_rss_bytes=None if self.traits.emulated else peak_rss_bytes(),
            residency=residency,
        )

    def _open(self, job: Job) -> Runner:
        """Return a runner of the job's file that was not entered yet."""
        return open_file(job.model, job.format, runner=self._runner, threads=job.threads)

    def _residency(self, runner: Runner) -> str:
        """Return what ran the passes of a runner that is still loaded; nothing where it does not tell."""
        return ""

    def pull(self, job: Job) -> Outcome:
        """Return what the job gave."""
        return self._outcomes[job.nonce]

    def discard(self, job: Job) -> None:
        """Forget the job."""
        self._outcomes.pop(job.nonce, None)


class EnvironmentTarget(FolderTarget):
    """tflite-runtime in a Python environment of its own, because it dies beside numpy 2."""

    def __init__(self, folder: Path | None = None) -> None:
        """Look for the environment in `folder`; by default where `targets install` puts it."""
        traits = Traits(("tflite",), True, True, "", False)
        super().__init__(f"local:{TFLITE_RUNTIME}", traits, {"tflite": TFLITE_RUNTIME})
        self._environment = folder or targets_folder() / TFLITE_RUNTIME

    def probe(self) -> Probe:
        """Say whether the environment was installed."""
        if interpreter_of(self._environment).is_file():
            return Probe()
        return Probe(
            f"{self.name}: its environment is not installed;"
            f" run: pocketportrait targets install {TFLITE_RUNTIME}"
        )

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        python = interpreter_of(self._environment)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        try:
            ran = run_command(
                [python, pushed.folder / ARCHIVE, pushed.folder],
                timeout_s=timeout_s,
                environment=clean,
            )
        except subprocess.TimeoutExpired as error:
            raise too_slow(self.name, timeout_s) from error
        pushed.said = f"{ran.said}\n{ran.died_of}"


def local_target(runner: str) -> LocalTarget | EnvironmentTarget:
    """Return the target of a runner's name: in this process wherever that works."""
    if runner == TFLITE_RUNTIME and LocalTarget(runner).probe().reason is not None:
        return EnvironmentTarget()
    return LocalTarget(runner)
