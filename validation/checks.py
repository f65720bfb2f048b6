"""What a verification found: checks, and the report that holds them.

The report's JSON Schema is published as `docs/schemas/verify-1.json`.
"""

from __future__ import annotations

import enum
from collections import Counter
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic
from pocketportrait.errors import ExitCode
from pocketportrait.validation.machine import Machine
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.tolerance import Tolerance


class Status(enum.StrEnum):
    """How a check ended."""

    PASS = "PASS"
    WARN = "WARN"  # fails only where --strict is asked for
    SKIP = "SKIP"  # could not be run here
    FAIL = "FAIL"


class Check(BaseModel):
    """One check of one thing; figures that are not finite numbers are null in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["files", "specs", "run", "golden", "fresh"]
    status: Status
    variant: str = "bundle"  # format/precision
    graph: str = ""
    tensor: str = ""
    sample: str = ""
    runner: str = ""
    message: str = ""
    max_abs: float | None = None
    psnr_db: float | None = None
    cosine: float | None = None
    max_abs_limit: float | None = None
    psnr_db_limit: float | None = None

    @property
    def name(self) -> str:
        """Return where this check looked, from the variant down to the tensor."""
        return " ".join(p for p in (self.variant, self.graph, self.tensor, self.sample) if p)

    def with_parity(self, parity: Parity, tolerance: Tolerance) -> Self:
        """Return this check with figures, and PASS or FAIL as the tolerance says."""
        complaint = tolerance.complaint(parity)
        return self.model_copy(
            update={
                "status": Status.FAIL if complaint else Status.PASS,
                "message": complaint or "",
                "max_abs": parity.max_abs,
                "psnr_db": parity.psnr_db,
                "cosine": parity.cosine,
                "max_abs_limit": tolerance.max_abs,
                "psnr_db_limit": tolerance.psnr_db,
            }
        )


class VerifyReport(BaseModel):
    """All checks of one bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    bundle: str
    machine: Machine
    seconds: float
    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return Counter(c.status for c in self.checks)[status]

    def of(self, *statuses: Status) -> tuple[Check, ...]:
        """Return the checks that ended in one of these ways."""
        return tuple(c for c in self.checks if c.status in statuses)

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return the exit code: a failure always counts, warnings and skips only if strict."""
        if self.of(Status.FAIL) or (strict and self.of(Status.WARN)):
            return ExitCode.GATE_FAILED
        if strict and self.of(Status.SKIP):
            return ExitCode.MISSING_TOOL
        return ExitCode.DONE

    def worst(self) -> tuple[Check, ...]:
        """Return one check a variant, graph and tensor that was compared: its worst."""
        found: dict[tuple[str, str, str], Check] = {}
        for check in self.checks:
            if check.max_abs is not None and check.kind in ("golden", "fresh"):
                key = (check.variant, check.graph, check.tensor)
                found[key] = max(found.get(key, check), check, key=_badness)
        return tuple(found.values())

    def to_json(self, path: Path) -> None:
        """Write the report, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


def _badness(check: Check) -> tuple[bool, float]:
    assert check.psnr_db is not None
    return check.status is Status.FAIL, -check.psnr_db


def verify_report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a verify report."""
    schema = VerifyReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
