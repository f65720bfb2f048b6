"""The matrix of variants and targets: drawn from a report, without running anything."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from pocketportrait.errors import ExitCode
from pocketportrait.validation.checks import (
    Check,
    Status,
    TargetFacts,
    VerifyReport,
    verify_report_schema,
)
from pocketportrait.validation.junit import write_junit
from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.matrix import matrix_rows
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.table import print_report
from pocketportrait.validation.tolerance import Tolerance

HERE, ARM, AWAY = "local:onnxruntime", "qemu:arm64-a53", "ssh:pi"


def compared(target: str, tensor: str, max_abs: float, limit: float) -> Check:
    check = Check(
        kind="golden",
        status=Status.FAIL,
        variant="onnx/fp32",
        target=target,
        graph="render",
        tensor=tensor,
        sample="golden-0",
    )
    return check.with_parity(Parity(max_abs, 90.0, 1.0), Tolerance(max_abs=limit))


def facts(name: str, *, emulated: bool = False, reason: str | None = None) -> TargetFacts:
    return TargetFacts(
        name=name,
        formats=("onnx",),
        can_parity=True,
        can_latency=not emulated,
        cost_unit="instructions" if emulated else "",
        emulated=emulated,
        reason=reason,
        device=None,
    )


@pytest.fixture
def report() -> VerifyReport:
    cost = Check(
        kind="cost",
        status=Status.PASS,
        variant="onnx/fp32",
        target=ARM,
        graph="render",
        cost=12_345_678,
        cost_unit="instructions",
    )
    away = [
        Check(
            kind="run",
            status=Status.SKIP,
            variant="onnx/fp32",
            target=AWAY,
            graph=graph,
            message="ssh:pi: is not reachable",
        )
        for graph in ("appearance", "motion", "render")
    ]
    return VerifyReport(
        bundle="b",
        machine=describe_machine(),
        seconds=1,
        targets=(facts(HERE), facts(ARM, emulated=True), facts(AWAY, reason="not reachable")),
        checks=(
            Check(kind="files", status=Status.PASS),
            compared(HERE, "image", 1e-6, 1e-4),
            compared(HERE, "wide", 9e-5, 1e-3),  # larger, and farther from its gate
            compared(HERE, "code", 5e-6, 1e-5),
            compared(ARM, "image", 2e-6, 1e-4),
            cost,
            *away,
        ),
    )


def test_a_row_shows_the_output_nearest_to_its_gate(report: VerifyReport) -> None:
    here, arm, away = matrix_rows(report)
    assert here.tightest is not None
    assert (here.target, here.tightest.tensor, here.compared) == (HERE, "code", 3)
    assert (arm.status, arm.costs, arm.emulated) == (Status.PASS, {"render": 12_345_678}, True)
    assert (away.status, away.tightest, away.costs) == (Status.SKIP, None, {})


def test_a_report_that_was_read_back_has_the_same_rows(report: VerifyReport) -> None:
    """JSON has no infinity: the PSNR of equal tensors is null there."""
    row = compared(HERE, "code", 0.0, 1e-5)
    equal = row.with_parity(Parity(0.0, math.inf, 1.0), Tolerance(psnr_db=50.0))
    lost = row.with_parity(Parity(math.inf, -math.inf, 0.0), Tolerance(psnr_db=50.0))
    half = [equal.model_copy(update={"variant": "onnx/fp16", "kind": "repeat"}), lost]
    found = report.model_copy(update={"checks": (*report.checks, *half)})
    again = VerifyReport.model_validate_json(found.model_dump_json())
    shown = [
        (row.variant, row.target, row.status, row.tightest and row.tightest.tensor)
        for row in matrix_rows(found)
    ]
    assert shown == [
        (row.variant, row.target, row.status, row.tightest and row.tightest.tensor)
        for row in matrix_rows(again)
    ]


def test_a_failure_is_the_tightest_and_makes_the_row_fail(report: VerifyReport) -> None:
    bad = compared(ARM, "features", 1e-3, 1e-4)
    failing = report.model_copy(update={"checks": (*report.checks, bad)})
    row = matrix_rows(failing)[1]
    assert row.status is Status.FAIL
    assert row.tightest is not None
    assert row.tightest.tensor == "features"
    assert failing.exit_code() is ExitCode.GATE_FAILED


def test_a_target_that_is_missing_is_skipped_and_strict_is_exit_3(report: VerifyReport) -> None:
    assert report.exit_code() is ExitCode.DONE
    assert report.exit_code(strict=True) is ExitCode.MISSING_TOOL


def test_where_all_was_skipped_nothing_was_verified(report: VerifyReport) -> None:
    skips = tuple(c for c in report.checks if c.max_abs is None)
    assert {c.status for c in skips} == {Status.PASS, Status.SKIP}  # files agree
    nothing = report.model_copy(update={"checks": skips})
    assert nothing.exit_code() is ExitCode.MISSING_TOOL


def test_a_cost_that_was_not_counted_leaves_the_parity_passed(report: VerifyReport) -> None:
    lost = Check(
        kind="cost", status=Status.SKIP, variant="onnx/fp32", target=ARM, message="no counter"
    )
    kept = tuple(c for c in report.checks if c.kind != "cost")
    found = report.model_copy(update={"checks": (*kept, lost)})
    assert matrix_rows(found)[1].status is Status.PASS
    assert found.exit_code(strict=True) is ExitCode.MISSING_TOOL


def test_the_table_states_each_gate_and_says_what_is_emulated(report: VerifyReport) -> None:
    out = io.StringIO()
    print_report(report, Console(file=out, width=132), matrix=True)
    lines = out.getvalue().splitlines()
    (here,) = (line for line in lines if HERE in line)
    shown = "onnx/fp32 local:onnxruntime PASS render code 5e-06 90.0 <= 1e-05"
    assert here.split() == shown.split()
    (arm,) = (line for line in lines if ARM in line)
    assert f"{ARM} (emulated)" in arm
    assert arm.rstrip().endswith("12.3")
    skipped = [line for line in lines if line.startswith("SKIP")]
    assert len(skipped) == 1  # three graphs, one reason
    assert f"on {AWAY}: ssh:pi: is not reachable" in skipped[0]
    assert " ms" not in out.getvalue()


def test_json_and_junit_hold_every_figure_with_its_gate(
    report: VerifyReport, tmp_path: Path
) -> None:
    report.to_json(tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(data, verify_report_schema())
    assert data["schema_version"] == 2
    assert [t["emulated"] for t in data["targets"]] == [False, True, False]
    write_junit(report, tmp_path / "r.xml")
    root = ET.parse(tmp_path / "r.xml").getroot()
    (case,) = (c for c in root.iter("testcase") if "code" in str(c.get("name")))
    assert HERE in str(case.get("name")) + str(case.get("classname"))
    assert "(gate: max abs <= 1e-05)" in str(case.findtext("system-out"))
    assert len(root.findall(".//skipped")) == 3
