"""A variant's process, from the side that asks."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from pocketportrait.errors import ExitCode, InputError, MissingToolError

WORKER = "pocketportrait.validation.bench_worker"
PATIENCE_S = 10.0  # for a process that was told to end
SHOWN_LINES = 3  # of what a dying process said


@dataclass(frozen=True, slots=True)
class Job:
    """What a process loads."""

    bundle: str  # a folder
    format: str
    precision: str
    runner: str
    threads: int | None


class VariantProcess:
    """A process that holds a variant; entering starts and loads it, leaving ends it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start the process and wait until every graph has run once.

        Raises:
            InputError: a file does not load, or the process died of it.
            MissingToolError: the runner cannot be used here.

        """
        self._said = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(asdict(self._job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        try:
            self.facts = self._answer()
            if "error" in self.facts:
                kind = self.facts["exit_code"] == ExitCode.MISSING_TOOL
                raise (MissingToolError if kind else InputError)(self.facts["error"])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def ask(self, method: str, *arguments: object) -> Any:
        """Return what the process answers.

        Raises:
            InputError: it died.

        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._died() from error
        return self._answer()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # a pipe that broke is closed
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        return json.loads(line)

    def _died(self) -> InputError:
        code = self._process.wait()
        self._said.seek(0)
        words = " ".join(self._said.read().split("\n")[-SHOWN_LINES - 1 :]).strip()
        job = self._job
        return InputError(
            f"{job.format}/{job.precision}: want times from {job.runner}, but its process ended"
            f" with {code}: {words or 'without a word'}; try verify on this variant"
        )
