"""A verify report on a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table

from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.matrix import MatrixRow, matrix_rows

LEAST_COLUMNS = 100  # of a log, which has no width of its own
MATRIX_COLUMNS = 132
STYLES = {
    Status.PASS: "green",
    Status.WARN: "yellow",
    Status.SKIP: "yellow",
    Status.FAIL: "bold red",
}


def print_report(
    report: VerifyReport, console: Console | None = None, *, matrix: bool = False
) -> None:
    """Print the worst parity of every output, then what failed, was skipped or is doubtful, then a sum.

    Args:
        report: what was found.
        console: where to; standard output by default.
        matrix: show variants by targets instead of every output.

    """
    console = console or _standard_output(MATRIX_COLUMNS if matrix else LEAST_COLUMNS)
    console.print(_matrix_table(report) if matrix else _parity_table(report))
    for check in _once(report.of(Status.FAIL, Status.WARN, Status.SKIP)):
        style = STYLES[check.status]
        where = f" on {check.target}" if matrix and check.target else ""
        console.print(f"{check.status}", style=style, end=" ")
        console.print(
            f"{check.name}{where}: {check.message}", markup=False, highlight=False, soft_wrap=True
        )
    counts = ", ".join(f"{report.count(s)} {s.value.lower()}" for s in Status if report.count(s))
    console.print(
        f"{report.bundle}: {counts} in {report.seconds:.1f} s", highlight=False, markup=False
    )


def _once(checks: tuple[Check, ...]) -> list[Check]:
    """Leave out skips of further graphs that say the same of one variant and target."""
    found: dict[object, Check] = {}
    for number, check in enumerate(checks):
        skipped = check.status is Status.SKIP
        key = (check.variant, check.target, check.kind, check.message) if skipped else number
        found.setdefault(key, check)
    return list(found.values())


def _standard_output(columns: int) -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=columns)


def _matrix_table(report: VerifyReport) -> Table:
    title = f"{report.bundle}: variants by targets, the output nearest to its gate"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("variant", "target", ""):
        table.add_column(name, no_wrap=True, min_width=len(Status.PASS))
    table.add_column("output", no_wrap=True)
    for name in ("max abs", "PSNR dB", "gate", "M instr. a pass"):
        table.add_column(name, justify="right", no_wrap=True)
    before = ""
    for row in matrix_rows(report):
        if before and row.variant != before:
            table.add_section()
        table.add_row(row.variant if row.variant != before else "", *_matrix_cells(row))
        before = row.variant
    return table


def _matrix_cells(row: MatrixRow) -> tuple[str, ...]:
    target = row.target + (" (emulated)" if row.emulated else "")
    costs = " / ".join(f"{cost / 1e6:.1f}" for cost in row.costs.values())
    status = f"[{STYLES[row.status]}]{row.status}[/]"
    if row.tightest is None:
        return target, status, "", "", "", "", costs
    one = row.tightest
    figures = (figure(one.max_abs, ".2g"), figure(one.psnr_db, ".1f"), gate(one))
    return target, status, f"{one.graph} {one.tensor}", *figures, costs


def _parity_table(report: VerifyReport) -> Table:
    title = f"Parity of {report.bundle}, worst of all samples"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("variant", "graph", "output"):
        table.add_column(name, no_wrap=True)
    for name in ("max abs", "PSNR dB", "cosine", "gate"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    before = ""
    for check in report.worst():
        if before and check.variant != before:
            table.add_section()
        shown = check.variant if check.variant != before else ""
        before = check.variant
        figures = (
            figure(check.max_abs, ".2g"),
            figure(check.psnr_db, ".1f"),
            figure(check.cosine, ".6f"),
        )
        status = f"[{STYLES[check.status]}]{check.status}[/]"
        table.add_row(shown, check.graph, check.tensor, *figures, gate(check), status)
    return table


def figure(value: float | None, form: str) -> str:
    """Return a figure as text; an infinite PSNR means equal tensors."""
    if value is None:
        return ""
    return ("exact" if value > 0 else "none") if math.isinf(value) else format(value, form)


def gate(check: Check) -> str:
    """Return the bound that a check was held to."""
    if check.psnr_db_limit is not None and math.isfinite(check.psnr_db_limit):
        return f">= {check.psnr_db_limit:.0f} dB"
    return f"<= {check.max_abs_limit:.2g}" if check.max_abs_limit is not None else ""
