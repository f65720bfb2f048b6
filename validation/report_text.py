"""A report as Markdown, for a reader of logs and of pull requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pocketportrait.validation.bench_record import Bench, Minute, Timing
from pocketportrait.validation.checks import Status, VerifyReport
from pocketportrait.validation.matrix import matrix_rows
from pocketportrait.validation.report_page import verdict
from pocketportrait.validation.report_record import Report, findings
from pocketportrait.validation.table import figure, gate

Rows = list[tuple[object, ...]]


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    parts = [f"# {_plain(report.title)}", f"**{_plain(verdict(report))}**"]
    parts += [f"- {_plain(machine.line())}" for machine in report.machines()]
    parts += _parity(report)
    for bench in report.benches:
        parts += _bench(bench)
    parts += [*_gates(report), *_evaluations(report)]
    doubts = [f for f in findings(report) if f.status is not Status.PASS]
    parts += [
        f"- {f.status} {_plain(f.suite)}: {_plain(f.name)}: {_plain(f.message)}" for f in doubts
    ]
    return "\n\n".join(_joined(parts)) + "\n"


def gate_lines(report: Report) -> Iterator[str]:
    """Yield a line a portrait gate, for a terminal; what was skipped for one reason is one line."""
    for gates in report.gates:
        skipped: dict[tuple[str, str], list[str]] = {}
        for g in gates.rows:
            told = g.message
            if g.status is Status.SKIP:
                skipped.setdefault((g.variant, g.message), []).append(g.figure)
                continue
            if g.value is not None:
                told = f"{g.value:.4g} {g.side} {_number(g.bound)}"
            if g.reference is not None:
                told += f" (fp32 {_number(g.reference)})"
            yield f"{g.status}  {g.variant:16} {g.figure:16} {told}"
        for (variant, reason), figures in skipped.items():
            yield f"SKIP  {variant:16} {', '.join(figures)}: {reason}"


def _parity(report: Report) -> Iterator[str]:
    heads = ("variant", "graph", "output", "status", "max abs", "PSNR dB", "gate")
    for one in report.verifications:
        rows: Rows = [
            (
                f"{c.variant} on {c.target}" if c.target else c.variant,
                c.graph,
                c.tensor,
                c.status,
                figure(c.max_abs, ".2g"),
                figure(c.psnr_db, ".1f"),
                gate(c),
            )
            for c in one.worst()
        ]
        yield _table(f"Parity of {one.bundle} on {one.machine.line()}", heads, rows)
        yield _matrix(one)


def _matrix(report: VerifyReport) -> str:
    found = {(row.variant, row.target): row.status for row in matrix_rows(report)}
    targets = list(dict.fromkeys(target for _, target in found))
    rows: Rows = [
        (variant, *(found.get((variant, target), "") for target in targets))
        for variant in dict.fromkeys(variant for variant, _ in found)
    ]
    title = f"Variants of {report.bundle} by targets"
    return _table(title, ("variant", *targets), rows) if len(targets) > 1 else ""


def _gates(report: Report) -> Iterator[str]:
    for one in report.gates:
        heads = ("variant", "figure", "status", one.reference, "this", "bound")
        rows: Rows = [
            (g.variant, g.figure, g.status, *map(_number, (g.reference, g.value, g.bound)))
            for g in one.rows
        ]
        yield _table(f"Portrait gates of {one.bundle} on {one.data}", heads, rows)


def _evaluations(report: Report) -> Iterator[str]:
    for one in report.evaluations:
        rows: Rows = [
            (f"{s.kind}, {s.group}", name, _number(value))
            for s in one.summaries
            for name, value in s.means.items()
        ]
        title = f"Portrait figures of {one.subject} {one.variant}".strip()
        yield _table(title, ("clips", "figure", "mean"), rows)


def _joined(parts: Iterable[str]) -> Iterator[str]:
    """Yield the parts that hold something, lists without gaps between their items."""
    items: list[str] = []
    for part in parts:
        if part.startswith("- "):
            items.append(part)
            continue
        if items:
            yield "\n".join(items)
            items = []
        if part:
            yield part
    if items:
        yield "\n".join(items)


def _bench(bench: Bench) -> Iterator[str]:
    rows: Rows = []
    for row in bench.variants:
        name = (row.variant, row.ran_by)
        rows += [
            (*name, g.graph, _ms(g.load_ms), _ms(g.first_ms), *_warm(g.warm)) for g in row.graphs
        ]
        if row.frame:
            rows.append((*name, "frame", "", "", *_warm(row.frame)))
    heads = ("variant", "runner", "graph", "load", "first", "p50", "p90", "p95", "p99")
    yield _table(f"Wall time in ms on {bench.machine.line()}", heads, rows)
    yield from (f"- {_plain(c.line)}" for c in bench.comparisons)
    yield from (f"- {r.status} {_plain(f'{r.variant}: {r.message}')}" for r in bench.regressions)
    for run in bench.sustained:
        minutes: Rows = [
            (m.minute + 1, m.frames, _ms(m.p50_ms), _ms(m.p95_ms), *_sensors(m))
            for m in run.minutes
        ]
        heads_of = ("minute", "frames", "p50 ms", "p95 ms", "clock MHz", "hottest °C")
        yield _table(f"{run.variant} without a pause", heads_of, minutes)
    for budget in bench.budgets:
        stages: Rows = [
            (s.stage, _ms(s.timing.p50_ms), _ms(s.timing.p95_ms)) for s in budget.stages
        ]
        stages.append(("in all", _ms(budget.total.p50_ms), _ms(budget.total.p95_ms)))
        yield _table(f"{budget.variant} from file to file", ("stage", "p50 ms", "p95 ms"), stages)


def _warm(timing: Timing) -> tuple[str, ...]:
    return tuple(map(_ms, (timing.p50_ms, timing.p90_ms, timing.p95_ms, timing.p99_ms)))


def _sensors(minute: Minute) -> tuple[str, str]:
    return _number(minute.clock_mhz), _number(minute.temperature_c)


def _ms(value: float) -> str:
    return f"{value:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *rows]
    body = "\n".join("| " + " | ".join(_plain(str(c)) for c in line) + " |" for line in lines)
    return f"## {_plain(title)}\n\n{body}"


def _plain(text: str) -> str:
    """Return text that neither ends a table's cell nor opens an element."""
    kept = " ".join(text.split())
    return kept.replace("|", "\\|").replace("<", "&lt;")
