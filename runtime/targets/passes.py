"""Passes through a runner: outputs, and either times or marks. Runs on devices: numpy alone."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pocketportrait.contract import Array

Feed = Mapping[str, Array]
Outputs = dict[str, Array]


class Infers(Protocol):
    """What can run a pass."""

    def infer(self, feed: Feed) -> Outputs:
        """Run one pass; returns copies."""


@dataclass
class Passes:
    """What the passes of one job gave."""

    outputs: dict[str, Outputs] = field(default_factory=dict)  # by sample
    first_ms: float = 0.0
    passes_ms: list[float] = field(default_factory=list)
    marked: int = 0


def mark() -> None:
    """Make the one system call that nothing else here makes; a counter may take its reading at it."""
    os.getppid()


def run_passes(
    runner: Infers, feeds: Mapping[str, Feed], *, warmup: int, repeats: int, marks: bool = False
) -> Passes:
    """Run every sample once, then warm up and repeat the first one.

    Args:
        runner: a loaded runner.
        feeds: samples by name, at least one, as the runner takes them.
        warmup: passes over the first sample that are not measured.
        repeats: passes over the first sample that are measured.
        marks: stand every pass but the very first, and one at least, between two marks.

    """
    found = Passes()
    for name, feed in feeds.items():
        start = time.perf_counter()
        found.outputs[name] = _pass(runner, feed, found, marks=marks and bool(found.outputs))
        if len(found.outputs) == 1:
            found.first_ms = (time.perf_counter() - start) * 1000
    first = next(iter(feeds.values()))
    for _ in range(warmup):
        runner.infer(first)
    for _ in range(repeats):
        start = time.perf_counter()
        _pass(runner, first, found, marks=marks)
        found.passes_ms.append((time.perf_counter() - start) * 1000)
    if marks and not found.marked:
        _pass(runner, first, found, marks=True)  # a single sample only warmed up
    return found


def _pass(runner: Infers, feed: Feed, found: Passes, *, marks: bool) -> Outputs:
    if not marks:
        return runner.infer(feed)
    mark()
    values = runner.infer(feed)
    mark()
    found.marked += 1
    return values
