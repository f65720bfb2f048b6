"""A kept benchmark as the gate of the next: what was once fast must not become slow unseen."""

from __future__ import annotations

from collections.abc import Sequence

from pocketportrait.errors import ExitCode
from pocketportrait.validation.bench_record import Bench, Regression, VariantBench
from pocketportrait.validation.bench_statistic import LEAST_ROUNDS, Bounds, compare_runs
from pocketportrait.validation.checks import Status

# between two runs a machine differs by more than between two turns of one round
BASELINE_EFFECT = 0.10


def against_baseline(
    bench: Bench, baselines: Sequence[Bench], bounds: Bounds | None = None
) -> tuple[Regression, ...]:
    """Compare every variant that was timed with the same variant of the newest fitting baseline.

    Figures of another processor, other cores, engine versions, runners or threads are never compared:
    that is a SKIP with the difference, not a PASS.

    Args:
        bench: measured now.
        baselines: measured before, oldest first.
        bounds: 99 % and 10 % by default.

    """
    bounds = bounds or Bounds(smallest_effect=BASELINE_EFFECT)
    return tuple(
        _judged(bench, row, baselines, bounds) for row in bench.variants if row.frame is not None
    )


def regression_code(regressions: Sequence[Regression], *, strict: bool = False) -> ExitCode:
    """Return the exit code: a slower variant fails; with `strict` so does one without a baseline."""
    found = {row.status for row in regressions}
    if Status.FAIL in found or (strict and Status.WARN in found):
        return ExitCode.GATE_FAILED
    return ExitCode.MISSING_TOOL if strict and Status.SKIP in found else ExitCode.DONE


def _judged(
    bench: Bench, row: VariantBench, baselines: Sequence[Bench], bounds: Bounds
) -> Regression:
    reason = "the baseline has no such variant"
    for old in reversed(baselines):
        for before in old.variants:
            if before.frame is None or before.name != row.name:
                continue
            if difference := _difference(old, before, bench, row):
                reason = difference
                continue
            return _compared(before, row, bounds)
    return Regression(variant=row.name, status=Status.SKIP, message=f"not compared: {reason}")


def _difference(old: Bench, before: VariantBench, new: Bench, row: VariantBench) -> str:
    """Return what makes two figures incomparable, or nothing."""
    for what, was, now in (
        ("processor", old.machine.processor, new.machine.processor),
        ("cores", old.machine.cores, new.machine.cores),
        ("threads", before.threads, row.threads),
        ("engines", _engines(old), _engines(new)),
    ):
        if was != now:
            return f"{what}: {was} then, {now} now"
    few = min(len(before.frame_ms), len(row.frame_ms))
    return f"want {LEAST_ROUNDS} frames on both sides, got {few}" if few < LEAST_ROUNDS else ""


def _engines(bench: Bench) -> str:
    return ", ".join(f"{n} {v}" for n, v in bench.machine.engines.items() if n != "numpy")


def _compared(before: VariantBench, row: VariantBench, bounds: Bounds) -> Regression:
    found = compare_runs(("the baseline", before.frame_ms), (row.variant, row.frame_ms), bounds)
    status = Status.FAIL if found.verdict == "slower" else Status.PASS
    if found.note:
        status = Status.WARN  # too noisy to tell is no pass
    return Regression(variant=row.name, status=status, message=found.line, comparison=found)
