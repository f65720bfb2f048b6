"""Targets of a matrix run side by side; engines of this process, and the jobs of one target, do not."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed
from pocketportrait.runtime.targets.local import LocalTarget, local_target
from pocketportrait.runtime.targets.protocol import Job, Probe, TargetError, Traits
from pocketportrait.validation.checks import Status
from pocketportrait.validation.verify import verify

LONG_S = 60.0


class Meeting(FolderTarget):
    """A target whose first job waits until another target's first job has come, too."""

    def __init__(self, name: str, barrier: threading.Barrier) -> None:
        super().__init__(name, Traits(("onnx",), True, False, "", True), {"onnx": "onnxruntime"})
        self._barrier, self._busy, self.jobs = barrier, threading.Lock(), 0

    def probe(self) -> Probe:
        return Probe()

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        assert self._busy.acquire(blocking=False), "two jobs at a time"
        self.jobs += 1
        if self.jobs == 1:
            self._barrier.wait(LONG_S)
        self._busy.release()
        raise TargetError(f"{self.name}: has met the other one")


def test_targets_run_side_by_side_and_their_checks_keep_the_order(tiny_bundle: Bundle) -> None:
    barrier = threading.Barrier(2)
    targets = [
        Meeting("test:a", barrier),
        local_target("onnxruntime"),
        Meeting("test:b", barrier),
    ]
    said: list[str] = []
    report = verify(
        tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=targets, tell=said.append
    )
    assert not barrier.broken
    failed = [check.target for check in report.of(Status.FAIL)]
    assert failed == ["test:a"] * 3 + ["test:b"] * 3  # three graphs each
    assert sorted(said)[1:] == ["onnx/fp32 on test:a", "onnx/fp32 on test:b"]
    assert {c.status for c in report.checks if c.target.startswith("local")} == {Status.PASS}


def test_an_interruption_starts_no_further_job(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Meeting):
        def _execute(self, pushed: Pushed, timeout_s: float) -> None:
            self.jobs += 1
            raise KeyboardInterrupt

    target = Interrupted("test:a", threading.Barrier(1))
    with pytest.raises(KeyboardInterrupt):
        verify(tiny_bundle, formats=["onnx"], precisions=["fp16", "fp32"], targets=[target])
    assert target.jobs == 1


def test_an_interruption_ends_the_commands_of_other_jobs(tiny_bundle: Bundle) -> None:
    barrier = threading.Barrier(2)
    ended: list[str] = []

    class Interrupted(Meeting):
        def _execute(self, pushed: Pushed, timeout_s: float) -> None:
            barrier.wait(LONG_S)
            raise KeyboardInterrupt

    class Sleeping(Meeting):
        def _execute(self, pushed: Pushed, timeout_s: float) -> None:
            self.jobs += 1
            barrier.wait(LONG_S)
            sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
            ended.append(run_command(sleep, timeout_s=10 * LONG_S).died_of)

    targets = [Interrupted("test:a", barrier), Sleeping("test:b", barrier)]
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        verify(tiny_bundle, formats=["onnx"], precisions=["fp32"], targets=targets)
    assert ended == ["SIGKILL"]  # and the next graph's was not begun
    assert targets[1].jobs == 1
    assert time.monotonic() - start < LONG_S


def test_an_engine_of_this_process_is_alone(tiny_bundle: Bundle) -> None:
    """Its threads would share cores with an emulator's, and torch has settings of the whole process."""
    threads: set[int] = set()

    class Watched(LocalTarget):
        def run(self, job: Job) -> None:
            threads.add(threading.get_ident())
            super().run(job)

    verify(tiny_bundle, formats=["onnx"], targets=[Watched("onnxruntime")])
    assert threads == {threading.get_ident()}
