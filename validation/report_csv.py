"""A report as CSV, one figure a line, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from pocketportrait.validation.bench_record import Bench, Timing
from pocketportrait.validation.checks import Status
from pocketportrait.validation.report_record import Report

HEADS = ("machine", "record", "bundle", "variant", "part", "figure", "value", "status")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run

Row = tuple[tuple[str, str, str, str, str, str], float | None, str]


def csv_text(report: Report) -> str:
    """Return the report as CSV, figures at full precision; a check without a figure has an empty one."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADS)
    for words, value, status in _figures(report):
        text = "" if value is None else repr(float(value))
        writer.writerow([*map(_harmless, words), text, status])
    return buffer.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _figures(report: Report) -> Iterator[Row]:
    for one in report.verifications:
        for c in one.checks:
            part = " ".join(p for p in (c.graph, c.tensor, c.sample, c.target) if p)
            start = (one.machine.line(), f"verify {c.kind}", one.bundle, c.variant, part)
            measured = {
                "max_abs": c.max_abs,
                "psnr_db": c.psnr_db,
                "cosine": c.cosine,
                c.cost_unit: c.cost,
            }
            for name, value in measured.items():
                if value is not None:
                    yield (*start, name), value, c.status
            if not any(value is not None for value in measured.values()):
                yield (*start, ""), None, c.status
    for bench in report.benches:
        yield from _variants(bench)
        yield from _runs(bench)
    for gates in report.gates:
        for g in gates.rows:
            key = (gates.machine.line(), "gates", gates.bundle, g.variant, gates.data, g.figure)
            yield key, g.value, g.status
    for found in report.evaluations:
        for clip in found.clips:
            part = f"{clip.kind} {clip.name}"
            for name, value in clip.figures.items():
                key = (found.machine.line(), "evaluate", found.subject, found.variant, part, name)
                yield key, value, ""


def _variants(bench: Bench) -> Iterator[Row]:
    for row in bench.variants:
        start = (bench.machine.line(), "bench", row.bundle, row.variant)
        if row.skipped:
            yield (*start, row.ran_by, ""), None, Status.SKIP
        for graph in row.graphs:
            yield (*start, graph.graph, "load_ms"), graph.load_ms, ""
            yield (*start, graph.graph, "first_ms"), graph.first_ms, ""
            for name, value in _percentiles(graph.warm):
                yield (*start, graph.graph, name), value, ""
        for name, value in _percentiles(row.frame) if row.frame else ():
            yield (*start, "frame", name), value, ""
        if row.peak_rss_bytes is not None:
            yield (*start, "process", "peak_rss_bytes"), row.peak_rss_bytes, ""


def _runs(bench: Bench) -> Iterator[Row]:
    start = (bench.machine.line(), "bench", "")
    for c in bench.comparisons:
        yield (*start, c.b, f"against {c.a}", "ratio"), c.ratio, c.verdict
    for r in bench.regressions:
        ratio = r.comparison.ratio if r.comparison else None
        yield (*start, r.variant, "against the baseline", "ratio"), ratio, r.status
    for run in bench.sustained:
        for m in run.minutes:
            yield (*start, run.variant, f"minute {m.minute + 1}", "p50_ms"), m.p50_ms, ""
    for budget in bench.budgets:
        for s in budget.stages:
            for name, value in _percentiles(s.timing):
                yield (*start, budget.variant, f"stage {s.stage}", name), value, ""


def _percentiles(timing: Timing) -> Iterator[tuple[str, float]]:
    for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms"):
        yield name, float(getattr(timing, name))
