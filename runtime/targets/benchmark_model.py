"""What Google's `benchmark_model` printed, read: both tools of that name, and the Python one's JSON.

- TensorFlow Lite's prints a line `count=.. first=.. min=..` a phase and `Inference timings in us: ..`.
- LiteRT's prints a block `BENCHMARK RESULTS` with milliseconds; `benchmark_litert_model.py --result_json`
  writes the same figures as JSON.

Output that is cut off has no figures: the tool may have died on its way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pocketportrait.errors import InputError

NUMBER = r"([0-9.]+(?:e[+-]?[0-9]+)?)"
PHASE = re.compile(r"count=(\d+)((?: [a-z0-9]+=[^ \n]+)*)")
TIMINGS = re.compile(
    rf"Inference timings in us: Init: {NUMBER}, First inference: {NUMBER},"
    rf" Warmup \(avg\): {NUMBER}, Inference \(avg\): {NUMBER}"
)
BLOCK = "BENCHMARK RESULTS"
ROW = re.compile(rf"(Model initialization|[A-Z][a-z]+ \([a-z0-9]+\)|First inference):\s+{NUMBER}")
RUNS = re.compile(r"Inference \(avg\):.*\((\d+) runs\)")
PEAK = re.compile(
    rf"(?:Overall peak memory footprint \(MB\) via periodic monitoring|Peak memory[^:]*): {NUMBER}"
)
DELEGATED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
MEBI = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delegation:
    """Nodes that a delegate took."""

    delegate: str
    taken: int
    nodes: int


@dataclass(frozen=True, slots=True)
class BenchmarkTimes:
    """The figures of one run of the tool; None where its version does not print one."""

    tool: str  # tflite or litert
    runs: int | None
    init_ms: float
    first_ms: float
    warmup_avg_ms: float
    avg_ms: float
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    peak_bytes: int | None = None
    delegations: tuple[Delegation, ...] = ()


def parse_benchmark_model(text: str) -> BenchmarkTimes:
    """Read what the tool printed, or the JSON that it wrote.

    Args:
        text: all of it, with whatever else was logged in between.

    Raises:
        InputError: there are no complete figures in it.

    """
    if text.lstrip().startswith("{"):
        return _from_json(text)
    try:
        if BLOCK in text:
            return _from_block(text)
        if (timings := TIMINGS.search(text)) is not None:
            return _from_lines(text, [float(figure) / 1000 for figure in timings.groups()])
    except InputError:
        raise
    except (ValueError, OverflowError) as error:  # a figure that is none
        raise InputError(f"benchmark_model: want figures, got: {error}; run it again") from error
    raise InputError(
        "benchmark_model: want what the tool printed, to its end; got no line"
        f" 'Inference timings in us' and no block '{BLOCK}'; run it again"
    )


def _from_lines(text: str, timings: list[float]) -> BenchmarkTimes:
    init_ms, first_ms, warmup_avg_ms, avg_ms = timings
    phases = list(PHASE.finditer(text))
    if not phases:
        raise InputError("benchmark_model: want a line 'count=..', got none; run it again")
    facts = dict(pair.split("=", 1) for pair in phases[-1][2].split())
    if facts.get("curr", "").endswith("(all"):  # `curr=81350(all same)`
        same = facts["curr"].removesuffix("(all")
        facts = {key: same for key in ("min", "max", "median")} | {"std": "0"}

    def ms(key: str) -> float | None:
        return float(facts[key]) / 1000 if key in facts else None

    return BenchmarkTimes(
        tool="tflite",
        runs=int(phases[-1][1]),
        init_ms=init_ms,
        first_ms=first_ms,
        warmup_avg_ms=warmup_avg_ms,
        avg_ms=avg_ms,
        min_ms=ms("min"),
        max_ms=ms("max"),
        std_ms=ms("std"),
        p5_ms=ms("p5"),
        p50_ms=ms("median"),
        p95_ms=ms("p95"),
        peak_bytes=_peak(text),
        delegations=_delegations(text),
    )


def _from_block(text: str) -> BenchmarkTimes:
    block = text[text.index(BLOCK) :]
    rows = {name: float(value) for name, value in ROW.findall(block)}
    first = rows.get("Warmup (first)", rows.get("First inference"))
    wanted = ("Model initialization", "Warmup (avg)", "Inference (avg)", "Inference (max)")
    if first is None or any(name not in rows for name in wanted):
        raise InputError(
            f"benchmark_model: want all of the block '{BLOCK}', got {sorted(rows)}; run it again"
        )
    runs = RUNS.search(block)
    return BenchmarkTimes(
        tool="litert",
        runs=int(runs[1]) if runs else None,
        init_ms=rows["Model initialization"],
        first_ms=first,
        warmup_avg_ms=rows["Warmup (avg)"],
        avg_ms=rows["Inference (avg)"],
        min_ms=rows.get("Inference (min)"),
        max_ms=rows.get("Inference (max)"),
        std_ms=rows.get("Inference (std)"),
        p5_ms=rows.get("Inference (p5)"),
        p50_ms=rows.get("Inference (median)"),
        p95_ms=rows.get("Inference (p95)"),
        peak_bytes=_peak(block),
        delegations=_delegations(text),
    )


def _from_json(text: str) -> BenchmarkTimes:
    try:
        latency: dict[str, Any] = json.loads(text)["latency"]
        return BenchmarkTimes(
            tool="litert",
            runs=int(latency["num_runs"]),
            init_ms=float(latency["init_ms"]),
            first_ms=float(latency["warmup_first_ms"]),
            warmup_avg_ms=float(latency["warmup_avg_ms"]),
            avg_ms=float(latency["avg_ms"]),
            min_ms=float(latency["min_ms"]),
            max_ms=float(latency["max_ms"]),
            std_ms=float(latency["std_ms"]),
            p5_ms=float(latency["p5_ms"]),
            p50_ms=float(latency["median_ms"]),
            p95_ms=float(latency["p95_ms"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"benchmark_model: want the JSON that --result_json writes, got a broken one: {error!r}"
        ) from error


def _peak(text: str) -> int | None:
    found = PEAK.search(text)
    return round(float(found[1]) * MEBI) if found else None


def _delegations(text: str) -> tuple[Delegation, ...]:
    return tuple(Delegation(m[3], int(m[1]), int(m[2])) for m in DELEGATED.finditer(text))
