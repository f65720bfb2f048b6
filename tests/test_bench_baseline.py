"""The regression gate: what it fails, what it lets pass, and what it refuses to compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pocketportrait.errors import ExitCode
from pocketportrait.validation.bench_baseline import against_baseline, regression_code
from pocketportrait.validation.bench_record import Bench, Timing, VariantBench
from pocketportrait.validation.bench_statistic import Bounds
from pocketportrait.validation.checks import Status
from pocketportrait.validation.machine import Machine

MACHINE = Machine(
    system="Linux",
    architecture="x86_64",
    processor="One",
    cores=2,
    python="3.11",
    engines={"onnxruntime": "1.31.1", "numpy": "2.4"},
)
BOUNDS = Bounds(smallest_effect=0.10, resamples=1000)


def variant(factor: float = 1.0, seed: int = 0, **more: object) -> VariantBench:
    frames = factor * np.exp(0.05 * np.random.default_rng(seed).normal(size=120))
    row = VariantBench(
        bundle="b",
        variant="onnx/fp32",
        runner="onnxruntime",
        threads=1,
        frame=Timing.of(frames.tolist()),
        frame_ms=tuple(frames.tolist()),
    )
    return row.model_copy(update=more)


def bench(*variants: VariantBench, machine: Machine = MACHINE) -> Bench:
    return Bench(tool="t", machine=machine, started="2026-01-01T00:00:00", variants=variants)


@pytest.mark.parametrize(
    ("factor", "status", "code"),
    [
        (1.0, Status.PASS, ExitCode.DONE),
        (1.05, Status.PASS, ExitCode.DONE),  # within the tolerance
        (1.3, Status.FAIL, ExitCode.GATE_FAILED),
        (0.5, Status.PASS, ExitCode.DONE),  # faster is no failure
    ],
)
def test_only_a_slower_variant_fails(factor: float, status: Status, code: ExitCode) -> None:
    (row,) = against_baseline(bench(variant(factor, 1)), [bench(variant())], BOUNDS)
    assert row.status is status
    assert regression_code([row]) == code
    assert row.comparison is not None
    assert row.comparison.ratio == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (bench(variant(), machine=MACHINE.model_copy(update={"processor": "Other"})), "processor"),
        (bench(variant(threads=4)), "threads: 4 then, 1 now"),
        (
            bench(variant(), machine=MACHINE.model_copy(update={"engines": {"onnxruntime": "1"}})),
            "engines: onnxruntime 1 then, onnxruntime 1.31.1 now",
        ),
        (bench(variant(variant="onnx/fp16")), "no such variant"),
        (bench(variant(runner="other")), "no such variant"),
        (bench(variant(frame_ms=(1.0,) * 5)), "want 20 frames on both sides, got 5"),
    ],
)
def test_another_machine_is_a_skip_with_the_difference_never_a_pass(old: Bench, words: str) -> None:
    (row,) = against_baseline(bench(variant(9.0)), [old], BOUNDS)
    assert row.status is Status.SKIP
    assert words in row.message
    assert regression_code([row]) == ExitCode.DONE
    assert regression_code([row], strict=True) == ExitCode.MISSING_TOOL


def test_the_newest_baseline_counts() -> None:
    old, new = bench(variant(1.0)), bench(variant(2.0))
    (row,) = against_baseline(bench(variant(2.0, 1)), [old, new], BOUNDS)
    assert row.status is Status.PASS


def test_too_noisy_to_tell_is_a_warning() -> None:
    drift = tuple(np.linspace(1, 3, 60).tolist())
    noisy = variant(frame_ms=drift)
    (row,) = against_baseline(bench(noisy), [bench(noisy)], BOUNDS)
    assert row.status is Status.WARN
    assert "measure more" in row.message
    assert regression_code([row], strict=True) == ExitCode.GATE_FAILED


def test_what_was_skipped_is_not_compared(tmp_path: Path) -> None:
    skipped = VariantBench(bundle="b", variant="x/y", runner="oracle", skipped="evaluates")
    assert against_baseline(bench(skipped), [bench(variant())], BOUNDS) == ()
