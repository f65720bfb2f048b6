"""What was judged as JUnit XML, which continuous integration shows check by check."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from pocketportrait import atomic
from pocketportrait.validation.checks import Check, Status, VerifyReport


class Judged(Protocol):
    """One thing that was judged."""

    @property
    def suite(self) -> str:
        """What it belongs to."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def status(self) -> Status:
        """How it ended."""

    @property
    def message(self) -> str:
        """Why."""


@dataclass(frozen=True, slots=True)
class _Case:
    suite: str
    name: str
    status: Status
    message: str


def write_junit(report: VerifyReport, path: Path) -> None:
    """Write one test suite a variant and target, one test case a check, whole or not at all."""
    cases = [
        _Case(c.variant, _case_name(c), c.status, c.message or c.figures) for c in report.checks
    ]
    name = f"pocketportrait verify {report.bundle}"
    atomic.write_bytes(path, junit_cases(name, cases, seconds=report.seconds))


def _case_name(check: Check) -> str:
    where = f"on {check.target}" if check.target else ""
    parts = (check.kind, check.graph, check.tensor, check.sample, where)
    return " ".join(part for part in parts if part)


def junit_cases(name: str, cases: Sequence[Judged], *, seconds: float | None = None) -> bytes:
    """Return JUnit XML with one test suite a `suite`, in the order of their names.

    Args:
        name: of all suites together.
        cases: what was judged.
        seconds: how long it took, if that is known.

    """
    root = ET.Element("testsuites", name=_printable(name))
    root.attrib |= _counts(cases)
    if seconds is not None:
        root.attrib["time"] = f"{seconds:.3f}"
    for suite_name, group in groupby(sorted(cases, key=lambda c: c.suite), key=lambda c: c.suite):
        members = list(group)
        suite = ET.SubElement(
            root, "testsuite", {"name": _printable(suite_name), **_counts(members)}
        )
        for case in members:
            _add_case(suite, case)
    ET.indent(root)
    buffer = io.BytesIO()
    ET.ElementTree(root).write(buffer, encoding="utf-8", xml_declaration=True)
    return buffer.getvalue() + b"\n"


def _counts(cases: Sequence[Judged]) -> dict[str, str]:
    failures = sum(c.status is Status.FAIL for c in cases)
    skipped = sum(c.status is Status.SKIP for c in cases)
    return {"tests": str(len(cases)), "failures": str(failures), "skipped": str(skipped)}


def _add_case(suite: ET.Element, judged: Judged) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_printable(judged.suite), name=_printable(judged.name)
    )
    message = _printable(judged.message)
    if judged.status is Status.FAIL:
        ET.SubElement(case, "failure", message=message)
    elif judged.status is Status.SKIP:
        ET.SubElement(case, "skipped", message=message)
    elif judged.status is Status.WARN:
        ET.SubElement(case, "system-out").text = f"warning: {message}"
    elif message:
        ET.SubElement(case, "system-out").text = message


def _printable(text: str) -> str:
    """XML 1.0 has no control characters; an engine's message may."""
    return "".join(c if c.isprintable() else " " for c in text)
