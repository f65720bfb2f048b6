"""A preflight report on a terminal and as JUnit XML."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.validation.checks import Status
from pocketportrait.validation.junit import junit_cases
from pocketportrait.validation.preflight.report import Finding, Look, PreflightReport
from pocketportrait.validation.preflight.rule import Severity
from pocketportrait.validation.preflight.targets import EVIDENCE

NODES_SHOWN = 3


def lines(report: PreflightReport) -> Iterator[str]:
    """Yield the report as text: every file and target, then each rule's findings with its rewrite."""
    for look in report.looked:
        yield _verdict(look, report.at(look))
    told: set[str] = set()
    for group in _grouped(report):
        first = group[0]
        yield ""
        yield f"{first.severity.upper()} {first.rule}: {_where(group)}: {first.why}"
        if first.rule not in told:  # once is enough
            facts = report.rules[first.rule]
            yield f"  rewrite: {facts.rewrite}"
            yield f"  see: {' '.join(_evidence(facts.evidence, group))}"
        told.add(first.rule)
    counts = {s: len(report.of(s)) for s in Severity}
    sums = ", ".join(f"{n} {s.value}{'s' if n != 1 else ''}" for s, n in counts.items() if n)
    yield ""
    yield f"{report.subject}: {sums or 'nothing found'} in {report.seconds:.1f} s"


def _evidence(pages: tuple[str, ...], group: list[Finding]) -> list[str]:
    """Leave out the lists of operators of targets that the findings are not about."""
    about = {EVIDENCE[finding.target] for finding in group}
    return [page for page in pages if page in about or page not in EVIDENCE.values()]


@dataclass(frozen=True, slots=True)
class _Case:
    suite: str
    name: str
    status: Status
    message: str


def write_junit(report: PreflightReport, path: Path) -> None:
    """Write one test suite a file and target, one test case a rule, whole or not at all."""
    cases = []
    for look in report.looked:
        found = report.at(look)
        for rule in report.rules:
            status, message = _outcome(report, [f for f in found if f.rule == rule])
            cases.append(_Case(f"{look.file} {look.target}", rule, status, message))
    name = f"pocketportrait preflight {report.subject}"
    atomic.write_bytes(path, junit_cases(name, cases, seconds=report.seconds))


def _outcome(report: PreflightReport, found: list[Finding]) -> tuple[Status, str]:
    if not found:
        return Status.PASS, ""
    rewrite = report.rules[found[0].rule].rewrite
    message = "; ".join(f"{f.severity} {f.node}: {f.why}" for f in found) + f"; rewrite: {rewrite}"
    severities = {f.severity for f in found}
    if Severity.ERROR in severities:
        return Status.FAIL, message
    return (Status.WARN if Severity.WARNING in severities else Status.PASS), message


def _verdict(look: Look, found: tuple[Finding, ...]) -> str:
    errors = sum(f.severity is Severity.ERROR for f in found)
    warnings = sum(f.severity is Severity.WARNING for f in found)
    status = "FAIL" if errors else "WARN" if warnings else "PASS"
    seen = f"{look.nodes} nodes"
    if look.samples:
        seen += f", ranges of {look.samples} real inputs"
    if not look.own_format:
        seen += f", as {look.format}: the target's own list of operators was not applied"
    return f"{status}  {look.target}  {look.file}  ({seen})"


def _grouped(report: PreflightReport) -> list[list[Finding]]:
    """Return findings of one rule, severity and reason together, the worst first."""
    groups: dict[tuple[int, str, str], list[Finding]] = defaultdict(list)
    for finding in report.findings:
        rank = list(Severity).index(finding.severity)
        groups[rank, finding.rule, finding.why].append(finding)
    return [groups[key] for key in sorted(groups)]


def _where(group: list[Finding]) -> str:
    nodes = list(dict.fromkeys((f.file, f.node, f.operator) for f in group))
    targets = ", ".join(dict.fromkeys(f.target for f in group))
    names = ", ".join(
        f"{file} {_short(node)} ({operator})" if node else file
        for file, node, operator in nodes[:NODES_SHOWN]
    )
    more = f" and {len(nodes) - NODES_SHOWN} more" if len(nodes) > NODES_SHOWN else ""
    return f"{targets}: {names}{more}"


def _short(node: str) -> str:
    """TFLite's names repeat the whole path of a module; its end tells where it is."""
    return node if len(node) <= 70 else f"..{node[-68:]}"
