"""The target: a place where exported files run, and what it may be believed about.

`execute` is the one way through a target: push, run, pull, and nothing of the job is left behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pocketportrait.bundle import VariantGraph
from pocketportrait.contract import Array, GraphSpec
from pocketportrait.errors import ExitCode, InputError, PortraitError
from pocketportrait.runtime.targets.record import DeviceRecord, TimingsRecord

TIMEOUT_S = 1800.0  # of one job; an emulated CPU is several hundred times slower
Feed = Mapping[str, Array]


class TargetError(PortraitError):
    """A target that broke off, vanished, or reported what cannot be believed."""

    exit_code = ExitCode.MISSING_TOOL


@dataclass(frozen=True, slots=True)
class Traits:
    """What a target can be asked for."""

    formats: tuple[str, ...]
    can_parity: bool
    can_latency: bool
    cost_unit: str  # of a noise-free cost of one pass; "" where it has none
    emulated: bool  # then no time of it is ever reported


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a target can be used now, and if not, why and what to do."""

    reason: str | None = None

    @property
    def available(self) -> bool:
        """Say whether the target can be used."""
        return self.reason is None


@dataclass(frozen=True)
class Job:
    """One graph of one variant and what to feed it, in the contract's layout (NCHW)."""

    model: Path  # the file, or the .mlpackage folder
    format: str
    graph: GraphSpec
    declared: VariantGraph  # the file's tensors, as the manifest has them
    feeds: Mapping[str, Feed]  # by sample
    threads: int | None = None  # None lets the engine choose
    warmup: int = 0  # passes over the first sample that are not measured
    repeats: int = 0  # and that are
    timeout_s: float = TIMEOUT_S
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True)
class Outcome:
    """What a job gave: outputs in the contract's layout, and what was measured."""

    target: str
    emulated: bool
    outputs: Mapping[str, Mapping[str, Array]]  # by sample
    device: DeviceRecord
    timings: TimingsRecord | None = None  # None on every emulated target
    cost: int | None = None  # of one pass, in the target's unit
    cost_note: str = ""  # why there is no cost where the target has a unit
    peak_rss_bytes: int | None = None
    residency: str = ""  # what ran the passes, where the engine can tell

    def __post_init__(self) -> None:
        """Refuse times of an emulated target."""
        if self.emulated and self.timings is not None:
            raise TargetError(f"{self.target}: is emulated and reported times; they mean nothing")


class Target(Protocol):
    """A place where exported files run."""

    @property
    def name(self) -> str:
        """How it is written on the command line."""

    @property
    def traits(self) -> Traits:
        """What it can be asked for."""

    def engine(self, format: str) -> str:
        """Return the name of what runs files of a format there."""

    def probe(self) -> Probe:
        """Say whether it can be used now; changes nothing."""

    def push(self, job: Job) -> None:
        """Bring the job there.

        Raises:
            TargetError: it does not get there.
            MissingToolError: the target is not there at all.

        """

    def run(self, job: Job) -> None:
        """Run what was pushed.

        Raises:
            TargetError: it broke off, vanished, or took longer than the job may.
            InputError: the engine does not take the file.

        """

    def pull(self, job: Job) -> Outcome:
        """Bring back what the job gave.

        Raises:
            TargetError: the report is missing, cut off, foreign, or its hashes differ.
            InputError: the file's tensors are not what the manifest says.

        """

    def discard(self, job: Job) -> None:
        """Remove whatever is left of the job; never raises."""


def execute(target: Target, job: Job) -> Outcome:
    """Run a job on a target and remove its traces.

    Raises:
        InputError: the target does not run this format, or the engine refuses the file.
        MissingToolError: the target is not there.
        TargetError: it broke off, or its report cannot be believed.

    """
    if job.format not in target.traits.formats:
        runs = ", ".join(target.traits.formats)
        raise InputError(f"{target.name}: want a file of {runs}, got {job.format}")
    try:
        target.push(job)
        target.run(job)
        outcome = target.pull(job)
    finally:
        target.discard(job)
    if outcome.outputs.keys() != job.feeds.keys():
        want, got = sorted(job.feeds), sorted(outcome.outputs)
        raise TargetError(f"{target.name}: want results of {want}, got {got}; run it again")
    return outcome
