"""A file or a bundle against all rules, for the targets that will run it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError
from pocketportrait.validation.preflight import (
    arithmetic_rules,
    operator_rules,
    sampling_rules,
    shape_rules,
)
from pocketportrait.validation.preflight.graph import Graph
from pocketportrait.validation.preflight.ranges import measured_ranges
from pocketportrait.validation.preflight.reader import READERS, read_graph
from pocketportrait.validation.preflight.report import Finding, Look, PreflightReport, RuleFacts
from pocketportrait.validation.preflight.rule import Range, Rule, Subject
from pocketportrait.validation.preflight.targets import Target, choose_targets

RULES: tuple[Rule, ...] = (
    *sampling_rules.RULES,
    *shape_rules.RULES,
    *arithmetic_rules.RULES,
    *operator_rules.RULES,
)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A file to look at and for whom."""

    file: str
    path: Path
    targets: tuple[Target, ...]
    graph: str = ""  # of a bundle: whose golden inputs give the ranges


def preflight(
    path: Path, targets: str | None = None, *, tell: Tell = lambda _: None
) -> PreflightReport:
    """Look at an `.onnx` or `.tflite` file, an `.mlpackage`, or all files of a bundle.

    Every target looks at the files of its own format. Of a bundle without any, and of a single ONNX
    file, it looks at ONNX: what a converter makes of that is not known, so only rules that hold in
    every format are applied.

    Args:
        path: a file, a package, or a bundle (folder or .zip).
        targets: names with commas; all that can run the files by default.
        tell: called with a line before each file.

    Raises:
        InputError: nothing there, not readable, or a target that runs other formats.
        MissingToolError: an extra that reads a format is not installed.

    """
    start = time.perf_counter()
    chosen = choose_targets(targets)
    if not path.exists():
        raise InputError(f"{path}: want a bundle or a model file, got nothing there")
    if path.suffix in READERS:
        plans = [_Plan(path.name, path, _for_file(path, chosen, asked=targets is not None))]
        looked, findings = _look(plans, {}, tell)
    else:
        with Bundle.open(path) as bundle:
            plans = _for_bundle(bundle, chosen)
            ranges: dict[str, tuple[Range, ...]] = {}
            for name in bundle.manifest.graphs:
                tell(f"ranges of {name}")
                ranges[name] = measured_ranges(bundle, name)
            looked, findings = _look(plans, ranges, tell)
    return PreflightReport(
        subject=path.name,
        seconds=time.perf_counter() - start,
        looked=tuple(looked),
        findings=tuple(findings),
        rules={rule.id: RuleFacts(rewrite=rule.rewrite, evidence=rule.evidence) for rule in RULES},
    )


def findings_of(
    graph: Graph, target: Target, ranges: tuple[Range, ...] = (), *, file: str | None = None
) -> list[Finding]:
    """Apply every rule to one graph for one target."""
    subject = Subject(graph, target, ranges)
    return [
        Finding(
            rule=rule.id,
            severity=severity,
            target=target.name,
            file=file or graph.file,
            node=hit.node,
            operator=hit.operator,
            why=hit.why,
        )
        for rule in RULES
        for hit, severity in rule.apply(subject)
    ]


def _for_file(path: Path, chosen: tuple[Target, ...], *, asked: bool) -> tuple[Target, ...]:
    if path.suffix == ".onnx":
        return chosen
    format = {".tflite": "tflite", ".mlpackage": "coreml"}[path.suffix]
    fitting = tuple(target for target in chosen if target.format == format)
    if asked and len(fitting) < len(chosen):
        other = next(target for target in chosen if target.format != format)
        raise InputError(
            f"--for: {other.name} runs {other.format} files, got {path.name};"
            " give it that file, the .onnx file it comes from, or a bundle"
        )
    return fitting


def _for_bundle(bundle: Bundle, chosen: tuple[Target, ...]) -> list[_Plan]:
    variants = bundle.manifest.variants
    wanted: dict[tuple[str, str], list[Target]] = {}
    for target in chosen:
        format = target.format if variants.get(target.format) else "onnx"
        if not variants.get(format):
            raise InputError(
                f"{bundle.root.name}: want {target.format} or onnx files for {target.name},"
                f" got {', '.join(variants)}; export again with -f {target.format}"
            )
        for precision in variants[format]:
            wanted.setdefault((format, precision), []).append(target)
    return [
        _Plan(facts.path, bundle.file(facts.path), tuple(targets), name)
        for (format, precision), targets in wanted.items()
        for name, facts in variants[format][precision].graphs.items()
    ]


def _look(
    plans: Sequence[_Plan], ranges: dict[str, tuple[Range, ...]], tell: Tell
) -> tuple[list[Look], list[Finding]]:
    looked: list[Look] = []
    findings: list[Finding] = []
    for plan in plans:
        tell(plan.file)
        graph = read_graph(plan.path)
        known = ranges.get(plan.graph, ())
        for target in plan.targets:
            looked.append(
                Look(
                    file=plan.file,
                    target=target.name,
                    format=graph.format,
                    nodes=len(graph.nodes),
                    own_format=graph.format == target.format,
                    samples=max((r.samples for r in known), default=0),
                )
            )
            findings += findings_of(graph, target, known, file=plan.file)
    return looked, findings
