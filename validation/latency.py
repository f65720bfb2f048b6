"""Latency: percentiles in milliseconds, with the warm-up stated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pocketportrait.errors import InputError


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall time of one call, over `repeats` calls that followed `warmup` calls nobody timed."""

    p50_ms: float
    p95_ms: float
    warmup: int
    repeats: int

    @classmethod
    def of(cls, durations_ms: Sequence[float], *, warmup: int = 0) -> Self:
        """Return the percentiles of durations; the first `warmup` of them are left out.

        Raises:
            InputError: nothing is left to take a percentile of.

        """
        timed = durations_ms[warmup:]
        if not timed:
            raise InputError(
                f"latency: want more than {warmup} calls (the warm-up), got {len(durations_ms)}"
            )
        p50_ms, p95_ms = np.percentile(timed, [50, 95])
        return cls(float(p50_ms), float(p95_ms), warmup, len(timed))


def measure(call: Callable[[], object], *, warmup: int = 5, repeats: int = 30) -> Latency:
    """Time a call with `perf_counter`.

    Args:
        call: what to time, without arguments.
        warmup: calls before the clock counts: engines allocate and caches fill in the first ones.
        repeats: calls that count.

    """
    durations_ms = []
    for _ in range(warmup + repeats):
        start = time.perf_counter()
        call()
        durations_ms.append((time.perf_counter() - start) * 1e3)
    return Latency.of(durations_ms, warmup=warmup)
