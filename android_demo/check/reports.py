"""The report that the Kotlin side wrote, read by the Python side."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import referencing

from pocketportrait.errors import InputError
from pocketportrait.validation.checks import Status
from pocketportrait.validation.report_record import VERIFY_SCHEMA, read_result

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def report_complaints(path: Path) -> list[str]:
    """Return what the published schema and the record's reader say against a report; empty if nothing."""
    if not path.is_file():
        return ["the tests wrote no report"]
    data = json.loads(path.read_text())
    registry: referencing.Registry[object] = referencing.Registry().with_resources(
        (name, referencing.Resource.from_contents(json.loads((SCHEMAS / name).read_text())))
        for name in (VERIFY_SCHEMA, "evaluation-1.json")
    )
    schema = json.loads((SCHEMAS / "report-1.json").read_text())
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    found = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(data)]
    try:
        report = read_result(path)
    except InputError as error:
        return [*found, str(error)]
    if not report.benches or not report.benches[0].variants[0].frame_ms:
        found.append("the report holds no measured frame")
    (verification,) = report.verifications
    statuses = {check.status for check in verification.checks}
    if statuses != {Status.PASS, Status.FAIL}:
        found.append(f"want checks that passed and checks that failed, got {sorted(statuses)}")
    return found
