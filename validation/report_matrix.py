"""The part of a page that tells which variant holds on which target."""

from __future__ import annotations

from collections.abc import Iterator

from pocketportrait.validation.checks import Status, VerifyReport
from pocketportrait.validation.matrix import MatrixRow, matrix_rows
from pocketportrait.validation.report_table import Cell, number, table
from pocketportrait.validation.table import gate


def matrix_sections(report: VerifyReport, source: str) -> Iterator[str]:
    """Yield variants by targets, and the output of each cell that came nearest to its gate.

    Args:
        report: what was found.
        source: JSON pointer of the report in the record.

    """
    rows = matrix_rows(report)
    emulated = {row.target: " (emulated)" if row.emulated else "" for row in rows}
    if len(emulated) < 2:
        return
    found = {(row.variant, row.target): row.status for row in rows}
    grid: list[tuple[str | Cell, ...]] = [
        (variant, *(found.get((variant, target), "") for target in emulated))
        for variant in dict.fromkeys(row.variant for row in rows)
    ]
    heads = ("variant", *(f"{target}{note}" for target, note in emulated.items()))
    caption = f"{report.bundle}: variants by targets; empty where a target does not run the format"
    yield table(caption, heads, grid, numbers=0)
    place = {id(check): f"{source}/checks/{j}" for j, check in enumerate(report.checks)}
    heads = ("variant", "target", "status", "output", "compared as", "figures")
    yield table(
        f"{report.bundle}: of each cell, the output nearest to its gate",
        (*heads, "max abs", "PSNR dB", "gate"),
        [_nearest(row, emulated[row.target], place) for row in rows],
        numbers=4,
    )


def _nearest(row: MatrixRow, note: str, place: dict[int, str]) -> tuple[str | Cell, ...]:
    one = row.tightest
    named: tuple[str, str, Status] = (row.variant, f"{row.target}{note}", row.status)
    if one is None:
        return (*named, "", "", "", "", "", "")
    source = place[id(one)]
    return (
        *named,
        f"{one.graph} {one.tensor}",
        one.kind,
        str(row.compared),
        number(one.max_abs, ".2g", f"{source}/max_abs"),
        number(one.psnr_db, ".1f", f"{source}/psnr_db"),
        gate(one),
    )
