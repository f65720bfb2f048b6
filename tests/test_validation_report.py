"""What a verification looks like: JSON, JUnit, terminal. No file is run here."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from pocketportrait.validation.checks import Check, Status, VerifyReport, verify_report_schema
from pocketportrait.validation.junit import write_junit
from pocketportrait.validation.machine import Machine, describe_machine
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.table import print_report
from pocketportrait.validation.tolerance import Tolerance

ROOT = Path(__file__).resolve().parent.parent
MACHINE = Machine(
    system="Linux",
    architecture="x86_64",
    processor="A <b> & C",
    cores=2,
    python="3.11",
    engines={"numpy": "2.4"},
)


def check(status: Status = Status.PASS, **more: object) -> Check:
    return Check(kind="golden", status=status, **more)  # type: ignore[arg-type]


def compared(graph: str, max_abs: float, psnr_db: float, sample: str = "golden-0") -> Check:
    row = check(variant="onnx/fp32", graph=graph, tensor="t", sample=sample)
    return row.with_parity(Parity(max_abs, psnr_db, 1.0), Tolerance(max_abs=1e-4))


def report(*checks: Check) -> VerifyReport:
    return VerifyReport(bundle="b", machine=MACHINE, seconds=1.5, checks=checks)


@pytest.mark.parametrize(
    ("statuses", "code", "strict_code"),
    [
        ([Status.PASS], 0, 0),
        ([Status.PASS, Status.SKIP], 0, 3),
        ([Status.PASS, Status.WARN], 0, 1),
        ([Status.SKIP, Status.WARN], 3, 1),  # nothing was compared
        ([Status.SKIP], 3, 3),
        ([Status.SKIP, Status.FAIL], 1, 1),
    ],
)
def test_exit_codes(statuses: list[Status], code: int, strict_code: int) -> None:
    passed = compared("motion", 1e-6, 80.0)
    found = report(*(passed if s is Status.PASS else check(s) for s in statuses))
    assert (found.exit_code(), found.exit_code(strict=True)) == (code, strict_code)


def test_the_worst_sample_of_an_output_is_shown_and_a_failure_is_always_worst() -> None:
    rows = report(
        compared("motion", 1e-6, 80.0),
        compared("motion", 1e-5, 70.0, "golden-1"),
        compared("render", 1.0, 90.0),
        compared("render", 1e-6, 60.0, "golden-1"),
    ).worst()
    assert [(r.graph, r.psnr_db, r.status) for r in rows] == [
        ("motion", 70.0, Status.PASS),
        ("render", 90.0, Status.FAIL),
    ]


def test_json_follows_the_published_schema_with_null_for_infinity(tmp_path: Path) -> None:
    report(compared("motion", 0.0, math.inf), compared("render", math.inf, -math.inf)).to_json(
        tmp_path / "r.json"
    )
    data = json.loads((tmp_path / "r.json").read_text())
    published = json.loads((ROOT / "docs" / "schemas" / "verify-2.json").read_text())
    jsonschema.validate(data, published)
    assert data["schema_version"] == 2
    assert [(c["status"], c["psnr_db"], c["max_abs"]) for c in data["checks"]] == [
        ("PASS", None, 0.0),
        ("FAIL", None, None),
    ]


def test_the_published_schema_is_the_one_of_the_code() -> None:
    published = json.loads((ROOT / "docs" / "schemas" / "verify-2.json").read_text())
    assert published == verify_report_schema()


def test_junit_has_a_suite_a_variant_and_names_the_graph(tmp_path: Path) -> None:
    skipped = check(Status.SKIP, variant="tflite/fp32", graph="motion", message="no LiteRT")
    bad = compared("render", 1.0, 3.0).model_copy(update={"message": 'a\x00b "<&'})
    write_junit(report(skipped, bad, compared("motion", 0.0, math.inf)), tmp_path / "j.xml")
    root = ET.parse(tmp_path / "j.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("3", "1", "1")
    assert [s.get("name") for s in root] == ["onnx/fp32", "tflite/fp32"]
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == 'a b "<&'
    assert root.find(".//testcase[@name='golden render t golden-0']/failure") is not None


def test_the_table_names_what_failed_and_why() -> None:
    text = io.StringIO()
    print_report(report(compared("render", 0.5, 3.0)), Console(file=text, width=160))
    assert "onnx/fp32 render t golden-0: max abs 0.5 is above 0.0001" in text.getvalue()
    assert "b: 1 fail in 1.5 s" in text.getvalue()


def test_this_machine_can_be_described() -> None:
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.engines["numpy"] == np.__version__
    assert "/" not in machine.line().replace("(", "")
