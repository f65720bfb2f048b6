"""The one record that every report is made from: JSON, JUnit, Markdown, CSV and the page.

It holds whole records of `verify`, `evaluate`, `bench` and `gates`, each with the machine that it came
from, so reports of several machines merge by being put side by side. The schema is
`docs/schemas/report-1.json`; records that have a schema of their own are referred to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError, WithJsonSchema

from pocketportrait import __version__, atomic, limits
from pocketportrait.bundle import Bundle
from pocketportrait.documents import parse_document
from pocketportrait.errors import ExitCode, InputError
from pocketportrait.validation.bench_record import Bench, Record
from pocketportrait.validation.checks import Check, Status, VerifyReport
from pocketportrait.validation.machine import Machine
from pocketportrait.validation.portrait_gates_record import PortraitGates
from pocketportrait.validation.portrait_record import Evaluation

MANIFEST = "manifest.json"

VERIFY_VERSION = VerifyReport.model_fields["schema_version"].default
VERIFY_SCHEMA = f"verify-{VERIFY_VERSION}.json"

ELSEWHERE = WithJsonSchema({"type": "object"})  # has a schema of its own, see `report_schema`

Part = TypeVar("Part", bound=BaseModel)


class VariantSize(Record):
    """How large the files of a variant are."""

    variant: str
    recipe: str
    graph_bytes: dict[str, int]


class BundleFacts(Record):
    """What a bundle says of itself."""

    name: str
    sha256: str  # of its manifest
    licence: str
    model: dict[str, str]
    tools: dict[str, str]
    sizes: tuple[VariantSize, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> BundleFacts:
        """Return the facts of an open bundle."""
        manifest = bundle.manifest

        def bytes_of(path: str) -> int:
            return sum(manifest.files[name].bytes for name in manifest.files_of(path))

        return cls(
            name=bundle.root.name,
            sha256=hashlib.sha256((bundle.root / MANIFEST).read_bytes()).hexdigest(),
            licence=manifest.licence,
            model=manifest.model,
            tools=manifest.tools,
            sizes=tuple(
                VariantSize(
                    variant=f"{format}/{precision}",
                    recipe=variant.recipe,
                    graph_bytes={n: bytes_of(g.path) for n, g in variant.graphs.items()},
                )
                for format, by in manifest.variants.items()
                for precision, variant in by.items()
            ),
        )


class Image(Record):
    """A picture inside the record."""

    alt: str
    width: int
    height: int
    webp_base64: str


class Picture(Record):
    """Pictures that are shown together."""

    kind: Literal["strip", "worst"]  # photos that perform; frames that differ most
    title: str
    caption: str
    images: tuple[Image, ...]


class Report(Record):
    """Everything that was found, on one machine or on several."""

    schema_version: Literal[1] = 1
    kind: Literal["report"] = "report"
    tool: str = f"pocketportrait {__version__}"
    title: str = "Pocket Portrait"
    bundles: tuple[BundleFacts, ...] = ()
    verifications: tuple[Annotated[VerifyReport, ELSEWHERE], ...] = ()
    evaluations: tuple[Annotated[Evaluation, ELSEWHERE], ...] = ()
    benches: tuple[Bench, ...] = ()
    gates: tuple[PortraitGates, ...] = ()
    pictures: tuple[Picture, ...] = ()

    def machines(self) -> tuple[Machine, ...]:
        """Return every machine that something was found on, once."""
        judged = [*(v.machine for v in self.verifications), *(g.machine for g in self.gates)]
        measured = [*(b.machine for b in self.benches), *(e.machine for e in self.evaluations)]
        return _once([*judged, *measured])

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return the exit code: a failure always counts, warnings and skips only if strict."""
        found = {finding.status for finding in findings(self)}
        if Status.FAIL in found or (strict and Status.WARN in found):
            return ExitCode.GATE_FAILED
        return ExitCode.MISSING_TOOL if strict and Status.SKIP in found else ExitCode.DONE

    def to_json(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was judged, whoever judged it."""

    suite: str
    name: str
    status: Status
    message: str


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    schema = Report.model_json_schema(mode="serialization")
    for part, file in (("verifications", VERIFY_SCHEMA), ("evaluations", "evaluation-1.json")):
        schema["properties"][part]["items"] = {"$ref": file}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def findings(report: Report) -> tuple[Finding, ...]:
    """Return everything that was judged, in the order of the record."""
    found = []
    for one in report.verifications:
        for check in one.checks:
            parts = (check.kind, check.graph, check.tensor, check.sample)
            name = " ".join(part for part in parts if part)
            where = f" on {check.target}" if check.target else ""
            suite = f"{one.bundle} {check.variant}{where}"
            found.append(Finding(suite, name, check.status, check.message))
    for bench in report.benches:
        for row in bench.variants:
            status = Status.SKIP if row.skipped else Status.PASS
            found.append(Finding("bench", f"{row.bundle} {row.name}", status, row.skipped))
        for regression in bench.regressions:
            name = f"{regression.variant} against the baseline"
            found.append(Finding("bench", name, regression.status, regression.message))
    for gates in report.gates:
        for gate in gates.rows:
            suite = f"{gates.bundle} {gate.variant}"
            found.append(Finding(suite, f"portrait {gate.figure}", gate.status, gate.message))
    return tuple(found)


def merge(reports: Sequence[Report], title: str | None = None) -> Report:
    """Put reports side by side; what two of them hold alike is held once.

    Args:
        reports: any number.
        title: of the merged report; the first one's by default.

    Raises:
        InputError: there is none.

    """
    if not reports:
        raise InputError("report: want one record at least to merge, got none")
    return Report(
        title=title or reports[0].title,
        bundles=_once([x for r in reports for x in r.bundles]),
        verifications=_once([x for r in reports for x in r.verifications]),
        evaluations=_once([x for r in reports for x in r.evaluations]),
        benches=_once([x for r in reports for x in r.benches]),
        gates=_once([x for r in reports for x in r.gates]),
        pictures=_once([x for r in reports for x in r.pictures]),
    )


def read_result(path: Path) -> Report:
    """Read a record that any command wrote, on any machine, as a report.

    Args:
        path: JSON of `report`, `bench`, `gates`, `verify` or `evaluate`.

    Raises:
        InputError: the file is missing, no such record, or of a newer schema.

    """
    limits.current().check_file("document_bytes", path)
    try:
        return parse_result(path.read_bytes(), str(path))
    except OSError as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{path}: want a record that a command wrote as JSON, got: {first}"
        ) from error


def parse_result(text: bytes, path: str) -> Report:
    """Read a record that was brought from another machine.

    Args:
        text: JSON of `report`, `bench`, `gates`, `verify` or `evaluate`.
        path: how messages call it.

    Raises:
        InputError: it is no such record, or of a newer schema.

    """
    wanted = f"{path}: want a record that a command wrote as JSON"
    data = parse_document(text.decode(errors="replace"), wanted)
    if not isinstance(data, dict) or "schema_version" not in data:
        raise InputError(f"{path}: want a record with its schema_version, got none")
    try:
        if data.get("kind") == "report":
            read = Report.model_validate(data)
            return read.model_copy(
                update={"verifications": tuple(_restored(v) for v in read.verifications)}
            )
        if "checks" in data:
            if data["schema_version"] == 1:  # the second version only added to the first
                data["schema_version"] = VERIFY_VERSION
            return Report(verifications=(_restored(VerifyReport.model_validate(data)),))
        if "clips" in data:
            return Report(evaluations=(Evaluation.model_validate(data),))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        message = error.errors()[0]["msg"]
        raise InputError(f"{path}: {where or 'the record'}: {message}; write it again") from error
    raise InputError(
        f"{path}: want a record of report, bench, gates, verify or evaluate, got none of them"
    )


def _restored(report: VerifyReport) -> VerifyReport:
    """Give figures back that JSON has no number for: exact parity, and NaN in an output."""
    return report.model_copy(update={"checks": tuple(map(_with_infinities, report.checks))})


def _with_infinities(check: Check) -> Check:
    compared = check.max_abs_limit is not None or check.psnr_db_limit is not None
    if check.psnr_db is not None or not compared:
        return check
    if check.max_abs is None:
        return check.model_copy(update={"max_abs": float("inf"), "psnr_db": float("-inf")})
    return check.model_copy(update={"psnr_db": float("inf" if check.max_abs == 0 else "-inf")})


def _once(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple({part.model_dump_json(): part for part in parts}.values())
