"""What a preflight found; its JSON Schema is published as `docs/schemas/preflight-1.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic
from pocketportrait.errors import ExitCode
from pocketportrait.validation.preflight.rule import Severity


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Look(_Frozen):
    """One file that was looked at for one target."""

    file: str
    target: str
    format: str
    nodes: int
    own_format: bool  # False: the target runs another format; its list of operators was not applied
    samples: int  # golden inputs that ranges were measured with


class Finding(_Frozen):
    """One place where a rule holds; how to mend it stands under the rule's id."""

    rule: str
    severity: Severity
    target: str
    file: str
    node: str  # name of the operation, or of the input; empty for the file as a whole
    operator: str
    why: str


class RuleFacts(_Frozen):
    """What to do about a rule's findings, and what it stands on."""

    rewrite: str
    evidence: tuple[str, ...]


class PreflightReport(_Frozen):
    """All findings of one file or bundle."""

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    subject: str
    seconds: float
    looked: tuple[Look, ...]
    findings: tuple[Finding, ...]
    rules: dict[str, RuleFacts]  # of every rule, by id

    def of(self, *severities: Severity) -> tuple[Finding, ...]:
        """Return the findings of these severities."""
        return tuple(f for f in self.findings if f.severity in severities)

    def at(self, look: Look) -> tuple[Finding, ...]:
        """Return the findings of one file for one target."""
        return tuple(f for f in self.findings if (f.file, f.target) == (look.file, look.target))

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return the exit code: an error always counts, a warning only if strict, a note never."""
        failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
        return ExitCode.GATE_FAILED if self.of(*failing) else ExitCode.DONE

    def to_json(self, path: Path) -> None:
        """Write the report, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


def preflight_schema() -> dict[str, Any]:
    """Return the JSON Schema of a preflight report."""
    schema = PreflightReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
