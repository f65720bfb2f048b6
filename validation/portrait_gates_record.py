"""What variants owe the picture, as a record: each figure beside that of the fp32 variant."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from pocketportrait.validation.bench_record import Record
from pocketportrait.validation.checks import Status
from pocketportrait.validation.machine import Machine


class PortraitGate(Record):
    """One figure of one variant and the bound that it is held to."""

    variant: str
    figure: str
    status: Status
    reference: FiniteFloat | None = None  # the fp32 variant's figure
    value: FiniteFloat | None = None
    bound: FiniteFloat | None = None
    side: Literal["at most", "at least", ""] = ""
    message: str = ""


class PortraitGates(Record):
    """All gates of one bundle on one set of clips."""

    bundle: str
    reference: str  # format/precision
    data: str  # name of the folder of clips
    clips: int
    machine: Machine
    seconds: FiniteFloat
    rows: tuple[PortraitGate, ...]
