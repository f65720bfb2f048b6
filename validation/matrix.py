"""The matrix of a verify report: one row a variant and target, with its tightest figure and its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pocketportrait.validation.checks import Check, Status, VerifyReport

GRAVEST = (Status.FAIL, Status.SKIP, Status.WARN, Status.PASS)


@dataclass(frozen=True)
class MatrixRow:
    """One variant on one target."""

    variant: str
    target: str
    status: Status  # the gravest of its checks of parity; a cost that was not counted is none
    tightest: Check | None  # the output nearest to its gate, or farthest beyond it
    compared: int  # figures that were held to a gate
    costs: Mapping[str, int]  # of one pass, by graph
    emulated: bool


def matrix_rows(report: VerifyReport) -> list[MatrixRow]:
    """Return the rows of a report: every variant and target that it has, in its order."""
    emulated = {facts.name for facts in report.targets if facts.emulated}
    cells: dict[tuple[str, str], list[Check]] = {}
    for check in report.checks:
        if (
            check.kind in ("specs", "run", "golden", "fresh", "repeat", "here", "cost")
            and check.target
        ):
            cells.setdefault((check.variant, check.target), []).append(check)
    rows = []
    for (variant, target), checks in cells.items():
        figures = [c for c in checks if c.max_abs is not None]
        statuses = {c.status for c in checks if c.kind != "cost"}
        rows.append(
            MatrixRow(
                variant,
                target,
                next(s for s in GRAVEST if s in statuses),
                max(figures, key=_nearness, default=None),
                len(figures),
                {c.graph: c.cost for c in checks if c.cost is not None},
                target in emulated,
            )
        )
    return sorted(rows, key=lambda row: row.variant)  # stable: targets as they were asked for


def _nearness(check: Check) -> tuple[bool, float]:
    """Return how near a figure is to its gate; variants have one kind of gate."""
    failed = check.status is Status.FAIL
    if check.psnr_db_limit is not None and math.isfinite(check.psnr_db_limit):
        # null in JSON: equal tensors, or one that holds no numbers
        unlimited = -math.inf if failed else math.inf
        return failed, check.psnr_db_limit - (unlimited if check.psnr_db is None else check.psnr_db)
    worst = math.inf if check.max_abs is None else check.max_abs
    return failed, worst / (check.max_abs_limit or math.inf)
