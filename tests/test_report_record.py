"""The record behind every report: schema, reading what any command wrote, merging machines."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from pocketportrait.cli import main
from pocketportrait.errors import ExitCode, InputError
from pocketportrait.validation.checks import Status
from pocketportrait.validation.portrait_gates_record import PortraitGates
from pocketportrait.validation.report_record import (
    VERIFY_SCHEMA,
    Report,
    findings,
    merge,
    read_result,
    report_schema,
)
from tests.report_samples import (
    MACHINE,
    OTHER,
    bench,
    compared,
    evaluation,
    full_report,
    gates,
    verification,
)

SCHEMAS = Path(__file__).resolve().parent.parent / "docs" / "schemas"
Output = pytest.CaptureFixture[str]


def published(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text())


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert published("report-1.json") == report_schema()


def test_a_full_report_follows_the_schema_and_comes_back_equal(tmp_path: Path) -> None:
    report = full_report(tmp_path / "bundle")
    report.to_json(tmp_path / "r.json")
    registry = referencing.Registry().with_resources(
        (name, referencing.Resource.from_contents(published(name)))
        for name in (VERIFY_SCHEMA, "evaluation-1.json")
    )
    data = json.loads((tmp_path / "r.json").read_text())
    schema = published("report-1.json")
    jsonschema.Draft202012Validator(schema, registry=registry).validate(data)
    assert data["verifications"][0]["checks"][1]["psnr_db"] is None  # JSON has no infinity
    assert read_result(tmp_path / "r.json").model_dump_json() == report.model_dump_json()


def test_an_output_of_nan_is_still_the_worst_when_it_is_read_back(tmp_path: Path) -> None:
    report = verification(compared(math.inf, -math.inf), compared(1e-6, 120.0))
    report.to_json(tmp_path / "v.json")
    (read,) = read_result(tmp_path / "v.json").verifications
    (row,) = read.worst()
    assert (row.status, row.max_abs, row.psnr_db) == (Status.FAIL, math.inf, -math.inf)


def test_records_of_every_command_are_read(tmp_path: Path) -> None:
    verification(compared(1e-6, 90.0)).to_json(tmp_path / "verify.json")
    evaluation().to_json(tmp_path / "evaluate.json")
    Report(benches=(bench(),)).to_json(tmp_path / "bench.json")
    read = [read_result(tmp_path / f"{n}.json") for n in ("verify", "evaluate", "bench")]
    merged = merge(read, "all")
    parts = (merged.verifications, merged.evaluations, merged.benches)
    assert [len(part) for part in parts] == [1, 1, 1]
    assert merged.title == "all"


def test_a_verification_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    verification(compared(1e-6, 90.0)).to_json(path)
    data = json.loads(path.read_text())
    data["schema_version"] = 1
    data.pop("targets", None)
    path.write_text(json.dumps(data))
    assert len(read_result(path).verifications[0].checks) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("no json", "want a record that a command wrote as JSON"),
        ([1], "want a record with its schema_version"),
        ({"schema_version": 1}, "got none of them"),
        ({"schema_version": 9, "kind": "report"}, "schema_version: Input should be 1"),
        ({"schema_version": 1, "kind": "report", "more": 1}, "more: Extra inputs"),
        ({"schema_version": 1, "clips": []}, "Field required"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, data: object, words: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(InputError, match=words) as error:
        read_result(path)
    assert "odd.json" in str(error.value)


def test_a_result_cannot_bring_the_latency_of_an_emulation(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    Report(benches=(bench(),)).to_json(path)
    data = json.loads(path.read_text())
    data["benches"][0]["variants"][0]["emulated"] = True
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="its times are no latency"):
        read_result(path)


def test_merging_keeps_every_machine_and_nothing_twice() -> None:
    here, there = Report(title="a", benches=(bench(),)), Report(benches=(bench(OTHER, 3.0),))
    merged = merge([here, there, here])
    assert merged.benches == (*here.benches, *there.benches)
    assert merged.machines() == (MACHINE, OTHER)
    assert merged.title == "a"
    assert merge([merged]) == merged
    with pytest.raises(InputError, match="want one record at least"):
        merge([])


def test_whatever_failed_fails_the_report() -> None:
    good = Report(benches=(bench(),))
    assert good.exit_code() == ExitCode.DONE
    assert good.exit_code(strict=True) == ExitCode.MISSING_TOOL  # Core ML was skipped
    bad: list[PortraitGates] = [gates(Status.FAIL)]
    assert merge([good, Report(gates=tuple(bad))]).exit_code() == ExitCode.GATE_FAILED
    worse = verification(compared(1.0, 3.0))
    assert Report(verifications=(worse,)).exit_code() == ExitCode.GATE_FAILED
    assert {f.status for f in findings(good)} == {Status.PASS, Status.SKIP}


def test_merge_and_import_are_commands(tmp_path: Path, capsys: Output) -> None:
    here, there, report = (tmp_path / f"{n}.json" for n in ("here", "there", "report"))
    Report(benches=(bench(),)).to_json(here)
    verification(compared(1.0, 3.0), machine=OTHER).to_json(there)
    page, lines = tmp_path / "all.html", tmp_path / "all.md"
    arguments = ["report", "merge", str(here), "-o", str(page), "-o", str(lines)]
    assert main(arguments) == 0
    assert main([*arguments, str(there)]) == 1
    said = capsys.readouterr().out
    assert "machines: 2" in said
    assert "Failed: onnx/fp32 render" in said
    assert "A &lt;b&gt; &amp; C" in page.read_text()
    assert "Phone\\|1" in lines.read_text()
    assert main(["import-result", str(here), "--report", str(report)]) == 0
    assert main(["import-result", str(there), "--report", str(report)]) == 1
    held = read_result(report)
    assert (len(held.benches), len(held.verifications)) == (1, 1)
    assert main(["import-result", str(there), "--report", str(tmp_path / "r.html")]) == 2
    assert main(["report", "merge", str(here), "-o", str(tmp_path / "r.doc")]) == 2
