"""What the checks found, told as they end."""

from __future__ import annotations

from collections.abc import Sequence

from android_demo.check.faults import Fault
from android_demo.check.kotlin import TestRun


class Outcome:
    """Counts what passed and what failed."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.passed = self.failed = 0

    def judge(self, what: str, complaints: Sequence[str]) -> None:
        """Count one check; it passes if nothing is complained of."""
        self._count(not complaints)
        print(f"{'FAIL' if complaints else 'PASS'} {what}", flush=True)
        for complaint in complaints:
            print(f"     {complaint}", flush=True)

    def noticed(self, fault: Fault, noticed: bool) -> None:
        """Count a planted fault; it passes if it was noticed."""
        self._count(noticed)
        print(f"{'PASS' if noticed else 'FAIL'} planted and noticed: {fault.name}", flush=True)

    def junit(self, run: TestRun) -> None:
        """Count every test of JUnit."""
        self.passed += run.passed
        self.failed += len(run.failed)
        print(f"{'FAIL' if run.failed else 'PASS'} JUnit: {run.passed} tests passed", flush=True)
        for name in run.failed:
            print(f"     {name}", flush=True)
        if run.failed:
            print(run.said[-4000:], flush=True)

    def closing_line(self) -> str:
        """Return how many passed and failed."""
        return f"{self.passed} passed, {self.failed} failed"

    def _count(self, passed: bool) -> None:
        self.passed += passed
        self.failed += not passed
