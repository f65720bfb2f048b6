"""A benchmark on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from pocketportrait.validation.bench_record import Bench, Budget, Sustained, VariantBench
from pocketportrait.validation.table import LEAST_COLUMNS, STYLES

MIB = 2**20


def print_bench(bench: Bench, console: Console | None = None) -> None:
    """Print every figure of a benchmark, then what was skipped, and the verdicts."""
    console = console or _standard_output()
    console.print(bench.machine.line(), highlight=False, markup=False)
    if any(row.frame for row in bench.variants):
        console.print(_variants(bench.variants))
    for row in bench.variants:
        if row.skipped:
            console.print("SKIP", style="yellow", end=" ")
            place = f" on {row.target}" if row.target else ""
            _line(console, f"{row.variant}{place}: {row.skipped}")
    for budget in bench.budgets:
        console.print(_budget(budget))
    for run in bench.sustained:
        console.print(_sustained(run))
        for note in run.notes:
            _line(console, f"note: {note}")
    for comparison in bench.comparisons:
        _line(console, comparison.line)
    for regression in bench.regressions:
        console.print(f"{regression.status}", style=STYLES[regression.status], end=" ")
        _line(console, f"{regression.variant}: {regression.message}")
    for note in bench.notes:
        _line(console, f"note: {note}")


def _standard_output() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=LEAST_COLUMNS)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(title: str, heads: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(heads[0], no_wrap=True)
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _variants(rows: tuple[VariantBench, ...]) -> Table:
    heads = ("variant, graph", "load", "first", "p50", "p90", "p95", "p99", "runs on")
    table = _table("Wall time in ms; a frame is motion and render", heads)
    for row in rows:
        if row.frame is None:
            continue
        for graph in row.graphs:
            units = ", ".join(f"{u.unit} {u.operators}" for u in graph.residency)
            times = (graph.load_ms, graph.first_ms, *_warm(graph.warm))
            note = graph.residency_note if row.target and len(graph.residency_note) < 40 else ""
            table.add_row(f"  {graph.graph}", *map(_ms, times), units or note or "not told")
        name = f"{row.variant} on {row.target}" if row.target else row.name
        table.add_row(name, "", "", *map(_ms, _warm(row.frame)), _process(row))
        table.add_section()
    return table


def _process(row: VariantBench) -> str:
    parts = []
    if row.peak_rss_bytes is not None:
        parts.append(f"{row.peak_rss_bytes / MIB:.0f} MiB")
    if row.process_threads is not None:
        parts.append(f"{row.process_threads} threads")
    return ", ".join(parts)


def _warm(timing: object) -> tuple[float, ...]:
    return tuple(getattr(timing, f"p{p}_ms") for p in (50, 90, 95, 99))


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _budget(budget: Budget) -> Table:
    title = f"A frame of {budget.driver} from file to file, {budget.variant}, ms"
    table = _table(title, ("stage", "p50", "p95", "share"))
    for row in budget.stages:
        share = row.timing.p50_ms / budget.total.p50_ms
        table.add_row(
            row.stage, f"{row.timing.p50_ms:.2f}", f"{row.timing.p95_ms:.2f}", f"{share:.0%}"
        )
    rate = f"{budget.frames_per_second:.1f} frames/s"
    table.add_row("in all", f"{budget.total.p50_ms:.2f}", f"{budget.total.p95_ms:.2f}", rate)
    return table


def _sustained(run: Sustained) -> Table:
    title = f"{run.variant} without a pause for {run.seconds:.0f} s"
    table = _table(title, ("minute", "frames", "p50 ms", "p95 ms", "clock MHz", "hottest C"))
    for row in run.minutes:
        clock = "-" if row.clock_mhz is None else f"{row.clock_mhz:.0f}"
        heat = "-" if row.temperature_c is None else f"{row.temperature_c:.1f}"
        table.add_row(
            str(row.minute + 1),
            str(row.frames),
            f"{row.p50_ms:.2f}",
            f"{row.p95_ms:.2f}",
            clock,
            heat,
        )
    return table
