"""What a verification found: checks, and the report that holds them.

The report's JSON Schema is published as `docs/schemas/verify-2.json`.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic
from pocketportrait.errors import ExitCode
from pocketportrait.runtime.targets.protocol import Target
from pocketportrait.runtime.targets.record import DeviceRecord
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

    # repeat: one feed twice; here: the same file on this machine; both without a reference of torch
    kind: Literal["files", "specs", "run", "golden", "fresh", "repeat", "here", "cost"]
    status: Status
    variant: str = "bundle"  # format/precision
    target: str = ""  # where it was run; empty for what is not run
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
    noise_floor: float | None = None  # |float32 - float64| of torch, where the gate was made of it
    cost: int | None = None  # of one pass, in `cost_unit`; never a time
    cost_unit: str = ""

    @property
    def name(self) -> str:
        """Return where this check looked, from the variant down to the tensor."""
        return " ".join(p for p in (self.variant, self.graph, self.tensor, self.sample) if p)

    @property
    def figures(self) -> str:
        """Return what was measured with the gate that it was held to; empty where nothing was."""
        if self.cost is not None:
            return f"{self.cost} {self.cost_unit} a pass"
        if self.max_abs is None or self.psnr_db is None:
            return ""
        text = f"max abs {self.max_abs:.3g}, PSNR {self.psnr_db:.1f} dB"
        if self.psnr_db_limit is not None and math.isfinite(self.psnr_db_limit):
            return f"{text} (gate: >= {self.psnr_db_limit:.1f} dB)"
        floor = "" if self.noise_floor is None else f"; noise floor {self.noise_floor:.3g}"
        return f"{text} (gate: max abs <= {self.max_abs_limit:.3g}{floor})"

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
                "noise_floor": tolerance.noise_floor,
            }
        )


class TargetFacts(BaseModel):
    """A target that was asked for: what it may be believed about, and what it turned out to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    formats: tuple[str, ...]
    can_parity: bool
    can_latency: bool
    cost_unit: str
    emulated: bool  # then nothing here is the latency of any device
    reason: str | None  # why it could not be used; null where it could
    device: DeviceRecord | None  # null where nothing was run

    @classmethod
    def of(cls, target: Target, device: DeviceRecord | None) -> Self:
        """Return the facts of a target and of what ran there."""
        traits = target.traits
        return cls(
            name=target.name,
            formats=traits.formats,
            can_parity=traits.can_parity,
            can_latency=traits.can_latency,
            cost_unit=traits.cost_unit,
            emulated=traits.emulated,
            reason=None if device else target.probe().reason,
            device=device,
        )


class VerifyReport(BaseModel):
    """All checks of one bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    tool: str = f"pocketportrait {__version__}"
    bundle: str
    machine: Machine
    seconds: float
    targets: tuple[TargetFacts, ...] = ()
    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return Counter(c.status for c in self.checks)[status]

    def of(self, *statuses: Status) -> tuple[Check, ...]:
        """Return the checks that ended in one of these ways."""
        return tuple(c for c in self.checks if c.status in statuses)

    def exit_code(self, *, strict: bool = False) -> ExitCode:
        """Return the exit code: a failure always counts, warnings and skips only if strict.

        A report in which all was skipped has verified nothing, strict or not.
        """
        if self.of(Status.FAIL) or (strict and self.of(Status.WARN)):
            return ExitCode.GATE_FAILED
        compared = any(check.max_abs is not None for check in self.checks)
        if self.of(Status.SKIP) and (strict or not compared):
            return ExitCode.MISSING_TOOL
        return ExitCode.DONE

    def worst(self) -> tuple[Check, ...]:
        """Return one check a variant, target, graph and tensor that was compared: its worst."""
        found: dict[tuple[str, str, str, str], Check] = {}
        for check in self.checks:
            if check.max_abs is not None and check.kind in ("golden", "fresh"):
                key = (check.variant, check.target, check.graph, check.tensor)
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
