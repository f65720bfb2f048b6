"""The part of a page that tells what a frame costs."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pocketportrait.validation.bench_record import Bench, Timing, VariantBench
from pocketportrait.validation.report_plots import (
    budget_plot,
    interval_plot,
    percentile_plot,
    sustained_plot,
)
from pocketportrait.validation.report_record import Report
from pocketportrait.validation.report_table import Cell, number, table

NO_LATENCY = "Nothing was timed."
PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
MEBI = 2**-20


def speed_sections(report: Report) -> str:
    """Return tables and plots of every benchmark; nothing where there is none."""
    return "\n".join(
        part for i, bench in enumerate(report.benches) for part in _bench(bench, f"/benches/{i}")
    )


def _bench(bench: Bench, source: str) -> Iterator[str]:
    load = "" if bench.load_1m is None else f", load {bench.load_1m:.1f} when it began"
    yield f"<h3>{escape(bench.machine.line())}{load}</h3>"
    heads = ("variant", "runner", "graph", "runs on", "load", "first", "p50", "p90", "p95", "p99")
    rows = [
        row
        for i, variant in enumerate(bench.variants)
        for row in _variant(variant, f"{source}/variants/{i}")
    ]
    yield table("Wall time in ms; a frame is motion and render", heads, rows, numbers=6)
    yield percentile_plot(bench.variants)
    yield _processes(bench, source)
    yield from (
        f'<p><span class="SKIP">SKIP</span> {escape(row.name)}: {escape(row.skipped)}</p>'
        for row in bench.variants
        if row.skipped
    )
    yield from _comparisons(bench, source)
    yield from _sustained(bench, source)
    yield from _budgets(bench, source)
    notes = ("These are figures of this machine and of what else it did; they are no phone's.",)
    yield from (f'<p class="quiet">{escape(note)}</p>' for note in (*bench.notes, *notes))


def _warm(timing: Timing, source: str) -> list[Cell]:
    return [number(getattr(timing, p), ".2f", f"{source}/{p}") for p in PERCENTILES]


def _variant(row: VariantBench, source: str) -> Iterator[tuple[str | Cell, ...]]:
    for i, graph in enumerate(row.graphs):
        at = f"{source}/graphs/{i}"
        units = ", ".join(f"{u.unit} {u.operators}" for u in graph.residency)
        start = [
            number(graph.load_ms, ".2f", f"{at}/load_ms"),
            number(graph.first_ms, ".2f", f"{at}/first_ms"),
        ]
        name = (row.variant, row.ran_by, graph.graph, units or graph.residency_note)
        yield (*name, *start, *_warm(graph.warm, f"{at}/warm"))
    if row.frame:
        rate = f"{1e3 / row.frame.p50_ms:.1f} frames a second"
        yield (row.variant, row.ran_by, "frame", rate, "", "", *_warm(row.frame, f"{source}/frame"))


def _processes(bench: Bench, source: str) -> str:
    rows = []
    for i, row in enumerate(bench.variants):
        if row.frame is None:
            continue
        at = f"{source}/variants/{i}"
        rows.append(
            (
                row.variant,
                number(row.import_ms, ".0f", f"{at}/import_ms"),
                number(row.peak_rss_bytes, ".1f", f"{at}/peak_rss_bytes", scale=MEBI),
                number(row.process_threads, "d", f"{at}/process_threads"),
                number(row.frame.repeats, "d", f"{at}/frame/repeats"),
                number(row.frame.warmup, "d", f"{at}/frame/warmup"),
            )
        )
    heads = ("variant", "engine's import ms", "peak RSS MiB", "threads", "frames", "warm-up")
    return table("Its process", heads, rows, numbers=5)


def _comparisons(bench: Bench, source: str) -> Iterator[str]:
    named = [(f"{source}/comparisons/{i}", c, "") for i, c in enumerate(bench.comparisons)]
    for i, row in enumerate(bench.regressions):
        if row.comparison:
            named.append((f"{source}/regressions/{i}/comparison", row.comparison, row.status))
        else:
            text = escape(f"{row.variant}: {row.message}")
            yield f'<p><span class="{row.status}">{row.status}</span> {text}</p>'
    rows = []
    for at, one, status in named:
        figures = (
            number(one.ratio, ".3f", f"{at}/ratio"),
            number(one.low, ".3f", f"{at}/low"),
            number(one.high, ".3f", f"{at}/high"),
            number(one.rounds, "d", f"{at}/rounds"),
            number(one.block, "d", f"{at}/block"),
        )
        rows.append((one.b, one.a, " ".join(p for p in (status, one.verdict) if p), *figures))
    heads = ("B", "A", "B is", "B / A", "low", "high", "rounds", "block")
    yield table("B against A; the interval is that of 1 - alpha", heads, rows, numbers=5)
    yield interval_plot([one for _, one, _ in named])


def _sustained(bench: Bench, source: str) -> Iterator[str]:
    heads = ("minute", "frames", "p50 ms", "p95 ms", "clock MHz", "hottest °C")
    for i, run in enumerate(bench.sustained):
        rows = []
        for j, minute in enumerate(run.minutes):
            at = f"{source}/sustained/{i}/minutes/{j}"
            rows.append(
                (
                    str(minute.minute + 1),
                    number(minute.frames, "d", f"{at}/frames"),
                    number(minute.p50_ms, ".2f", f"{at}/p50_ms"),
                    number(minute.p95_ms, ".2f", f"{at}/p95_ms"),
                    number(minute.clock_mhz, ".0f", f"{at}/clock_mhz"),
                    number(minute.temperature_c, ".1f", f"{at}/temperature_c"),
                )
            )
        yield sustained_plot(run)
        yield table(
            f"{run.variant} without a pause for {run.seconds:.0f} s", heads, rows, numbers=5
        )
        yield from (f'<p class="quiet">{escape(note)}</p>' for note in run.notes)


def _budgets(bench: Bench, source: str) -> Iterator[str]:
    for i, budget in enumerate(bench.budgets):
        at = f"{source}/budgets/{i}"
        rows = [
            (
                row.stage,
                number(row.timing.p50_ms, ".2f", f"{at}/stages/{j}/timing/p50_ms"),
                number(row.timing.p95_ms, ".2f", f"{at}/stages/{j}/timing/p95_ms"),
            )
            for j, row in enumerate(budget.stages)
        ]
        total = [
            number(budget.total.p50_ms, ".2f", f"{at}/total/p50_ms"),
            number(budget.total.p95_ms, ".2f", f"{at}/total/p95_ms"),
        ]
        yield budget_plot(budget)
        caption = f"{budget.variant}, {budget.frames} frames of {budget.driver}, from file to file"
        yield table(caption, ("stage", "p50 ms", "p95 ms"), [*rows, ("in all", *total)], numbers=2)
