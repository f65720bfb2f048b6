"""A report of a phone: it has to be complete and of this bundle, and the gates are those of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from android_demo.check.tiny_bundle import write_tiny_bundle
from pocketportrait.bundle import Bundle
from pocketportrait.runtime.targets.adb_app import AppAnswer, AppJob
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.validation.bench_record import VariantBench
from pocketportrait.validation.checks import Check, Status
from pocketportrait.validation.phone import believed
from pocketportrait.validation.report_record import Report
from tests.phone_app import report_of

RUNS = 3
Change = Callable[[Report], Report]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> AppJob:
    folder: Path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_tiny_bundle(folder)
    return AppJob(Bundle.open(folder), "fp32", runs=RUNS)


def judged(job: AppJob, change: Change, *, emulated: bool = False) -> Report:
    wishes = {"engine": "ort", "accel": "cpu", "precision": "fp32", "runs": str(RUNS)}
    report = change(report_of(job.bundle, wishes))
    data = report.model_dump_json().encode()
    return believed(AppAnswer("adb:X", emulated, True, data), job)


def with_checks(report: Report, checks: tuple[Check, ...]) -> Report:
    one = report.verifications[0].model_copy(update={"checks": checks})
    return report.model_copy(update={"verifications": (one,)})


def on_last_check(**update: Any) -> Change:
    def change(report: Report) -> Report:
        *others, last = report.verifications[0].checks
        return with_checks(report, (*others, last.model_copy(update=update)))

    return change


def on_times(**update: Any) -> Change:
    def change(report: Report) -> Report:
        row = report.benches[0].variants[0].model_copy(update=update)
        return report.model_copy(
            update={"benches": (report.benches[0].model_copy(update={"variants": (row,)}),)}
        )

    return change


def test_a_whole_report_passes_by_our_gates(job: AppJob) -> None:
    report = judged(job, lambda r: r)
    checks = report.verifications[0].checks
    assert {c.status for c in checks} == {Status.PASS}
    assert all(c.max_abs_limit is not None for c in checks if c.kind == "golden")
    assert report.exit_code() == 0


def test_a_phone_with_wider_gates_does_not_pass(job: AppJob) -> None:
    report = judged(job, on_last_check(max_abs=0.01, psnr_db=40.0, max_abs_limit=1.0))
    (bad,) = report.verifications[0].of(Status.FAIL)
    assert "max abs 0.01 is above" in bad.message
    assert report.exit_code() == 1


def test_what_the_phone_fails_stays_failed(job: AppJob) -> None:
    report = judged(job, on_last_check(status=Status.FAIL, message="by its own gates"))
    assert [c.message for c in report.verifications[0].of(Status.FAIL)] == ["by its own gates"]


def test_a_graph_that_could_not_run_needs_no_figures(job: AppJob) -> None:
    def refused(report: Report) -> Report:
        kept = [c for c in report.verifications[0].checks if c.graph != "render"]
        row = Check(kind="run", status=Status.FAIL, graph="render", message="no GPU")
        return with_checks(report, (*kept, row))

    assert [c.message for c in judged(job, refused).verifications[0].of(Status.FAIL)] == ["no GPU"]


def without(graph: str) -> Change:
    return lambda report: with_checks(
        report, tuple(c for c in report.verifications[0].checks if c.graph != graph)
    )


def twice(report: Report) -> Report:
    return with_checks(report, (*report.verifications[0].checks, report.verifications[0].checks[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("motion"), r"want every golden vector on app:onnxruntime-cpu, got none of \['mot"),
        (twice, "want each golden vector of onnx/fp32 on app:onnxruntime-cpu once"),
        (on_last_check(target="app:onnxruntime-gpu"), "got .* on app:onnxruntime-gpu"),
        (on_last_check(variant="onnx/w8"), "got onnx/w8 render image"),
        (on_last_check(sample="golden-7"), "got .* golden-7"),
        (on_last_check(max_abs=None, psnr_db=None), "want figures of .* got none"),
        (on_last_check(kind="run"), "want only failures without figures"),
        (on_times(variant="onnx/w8"), r"want times of onnx/fp32, got \['onnx/w8'\]"),
        (on_times(bundle_sha256="0" * 64), "want times of onnx/fp32"),
        (on_times(frame_ms=(10.0,)), "want 3 passes of every graph"),
        (on_times(graphs=()), "want 3 passes of every graph, got {}"),
        (lambda r: r.model_copy(update={"bundles": ()}), r"want the bundle \w+, got \[\]"),
        (lambda r: r.model_copy(update={"benches": ()}), r"want one verification and one bench"),
    ],
)
def test_a_report_that_is_not_of_this_job_is_refused(
    job: AppJob, change: Change, words: str
) -> None:
    with pytest.raises(TargetError, match=words):
        judged(job, change)


def test_times_of_an_emulator_are_refused_and_their_absence_is_not(job: AppJob) -> None:
    with pytest.raises(TargetError, match="is emulated and reported times"):
        judged(job, lambda r: r, emulated=True)

    def untimed(report: Report) -> Report:
        old = report.benches[0].variants[0]
        row = VariantBench(
            bundle=old.bundle,
            bundle_sha256=old.bundle_sha256,
            variant=old.variant,
            runner=old.runner,
            emulated=True,
            skipped="an emulator: its times are no latency",
        )
        return report.model_copy(
            update={"benches": (report.benches[0].model_copy(update={"variants": (row,)}),)}
        )

    assert judged(job, untimed, emulated=True).benches[0].variants[0].frame is None


def test_what_is_no_report_is_refused(job: AppJob) -> None:
    with pytest.raises(TargetError, match="adb:X: the report: want a record"):
        believed(AppAnswer("adb:X", False, True, b'{"schema_version": 1'), job)
