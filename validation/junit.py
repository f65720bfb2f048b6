"""A verify report as JUnit XML, which continuous integration shows check by check."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from itertools import groupby
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.validation.checks import Check, Status, VerifyReport


def write_junit(report: VerifyReport, path: Path) -> None:
    """Write one test suite a variant and one test case a check, whole or not at all."""
    root = ET.Element("testsuites", name=f"pocketportrait verify {report.bundle}")
    root.attrib |= _counts(report.checks) | {"time": f"{report.seconds:.3f}"}
    ordered = sorted(report.checks, key=lambda c: c.variant)
    for variant, group in groupby(ordered, key=lambda c: c.variant):
        checks = list(group)
        suite = ET.SubElement(root, "testsuite", {"name": variant, **_counts(checks)})
        for check in checks:
            _add_case(suite, check)
    ET.indent(root)
    buffer = io.BytesIO()
    ET.ElementTree(root).write(buffer, encoding="utf-8", xml_declaration=True)
    atomic.write_bytes(path, buffer.getvalue() + b"\n")


def _counts(checks: tuple[Check, ...] | list[Check]) -> dict[str, str]:
    failures = sum(c.status is Status.FAIL for c in checks)
    skipped = sum(c.status is Status.SKIP for c in checks)
    return {"tests": str(len(checks)), "failures": str(failures), "skipped": str(skipped)}


def _add_case(suite: ET.Element, check: Check) -> None:
    parts = (check.kind, check.graph, check.tensor, check.sample)
    case = ET.SubElement(
        suite, "testcase", classname=check.variant, name=" ".join(p for p in parts if p)
    )
    message = _printable(check.message)
    if check.status is Status.FAIL:
        ET.SubElement(case, "failure", message=message)
    elif check.status is Status.SKIP:
        ET.SubElement(case, "skipped", message=message)
    elif check.status is Status.WARN:
        ET.SubElement(case, "system-out").text = f"warning: {message}"


def _printable(text: str) -> str:
    """XML 1.0 has no control characters; an engine's message may."""
    return "".join(c if c.isprintable() else " " for c in text)
