"""Output of `benchmark_model`: formats as in the tools' sources; none of it was recorded on a device."""

from __future__ import annotations

import json

import pytest

from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.benchmark_model import (
    Delegation,
    parse_benchmark_model,
)

CLASSIC = """\
INFO: STARTING!
INFO: Loaded model /data/local/tmp/motion.tflite
VERBOSE: Replacing 61 out of 62 node(s) with delegate (TfLiteXNNPackDelegate) node, \
yielding 1 partitions for subgraph 0.
INFO: Initialized session in 16.242ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate \
if exceeding 150 seconds.
INFO: count=2 first=36026 curr=30458 min=30458 max=36026 avg=33242 std=2784

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate \
if exceeding 150 seconds.
INFO: count=50 first=24904 curr=25088 min=24706 max=25447 avg=2.49684e+04 std=144 \
p5=24710 median=24960 p95=25400

INFO: Inference timings in us: Init: 16242, First inference: 36026, \
Warmup (avg): 33242, Inference (avg): 2.49684e+04
INFO: Memory footprint delta from the start of the tool (MB): init=4.92969 overall=138.809
INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5
"""
BLOCK = """\
========== BENCHMARK RESULTS ==========
Model initialization: 12.50 ms
Warmup (first):       40.10 ms
Warmup (avg):         31.00 ms (5 runs)
Inference (avg):      24.97 ms (50 runs)
Inference (min):      24.71 ms
Inference (max):      25.45 ms
Inference (std):      0.14
Throughput:           30.05 MB/s
Peak memory:          12.5 MB
========================================
"""
LATENCY = {
    "init_ms": 12.5,
    "warmup_first_ms": 40.1,
    "warmup_avg_ms": 31.0,
    "num_warmup_runs": 5,
    "avg_ms": 24.97,
    "min_ms": 24.71,
    "max_ms": 25.45,
    "median_ms": 24.96,
    "std_ms": 0.14,
    "p5_ms": 24.71,
    "p95_ms": 25.4,
    "num_runs": 50,
}


def test_lines_of_the_older_tool_become_milliseconds() -> None:
    times = parse_benchmark_model(CLASSIC)
    assert (times.tool, times.runs) == ("tflite", 50)  # the measured phase, not the warm-up
    assert (times.init_ms, times.first_ms, times.warmup_avg_ms) == (16.242, 36.026, 33.242)
    assert times.avg_ms == pytest.approx(24.9684)
    assert (times.min_ms, times.max_ms, times.std_ms) == (24.706, 25.447, 0.144)
    assert (times.p5_ms, times.p50_ms, times.p95_ms) == (24.71, 24.96, 25.4)
    assert times.peak_bytes == 12.5 * 1024 * 1024
    assert times.delegations == (Delegation("TfLiteXNNPackDelegate", 61, 62),)


def test_a_phase_of_equal_times_and_one_without_percentiles_are_read() -> None:
    same = CLASSIC.replace(
        "count=50 first=24904 curr=25088 min=24706 max=25447 avg=2.49684e+04 std=144"
        " p5=24710 median=24960 p95=25400",
        "count=50 curr=81350(all same)",
    )
    times = parse_benchmark_model(same)
    assert (times.min_ms, times.p50_ms, times.max_ms, times.std_ms) == (81.35, 81.35, 81.35, 0)
    assert times.p95_ms is None


def test_the_block_of_the_newer_tool_is_read() -> None:
    times = parse_benchmark_model("INFO: [benchmark] starting\n" + BLOCK)
    assert (times.tool, times.runs) == ("litert", 50)
    assert (times.init_ms, times.first_ms, times.avg_ms) == (12.5, 40.1, 24.97)
    assert (times.min_ms, times.max_ms, times.std_ms) == (24.71, 25.45, 0.14)
    assert times.p50_ms is None
    older = parse_benchmark_model(BLOCK.replace("Warmup (first):", "First inference:"))
    assert older.first_ms == 40.1


def test_the_json_of_the_newer_tool_says_the_same_as_its_block() -> None:
    times = parse_benchmark_model(json.dumps({"model": "m.tflite", "latency": LATENCY}))
    block = parse_benchmark_model(BLOCK)
    assert (times.tool, times.runs, times.avg_ms) == (block.tool, block.runs, block.avg_ms)
    assert (times.p5_ms, times.p50_ms, times.p95_ms) == (24.71, 24.96, 25.4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "to its end"),
        (CLASSIC[: CLASSIC.index("INFO: Inference timings")], "to its end"),
        (CLASSIC.replace("count=", "cnt="), "want a line 'count=..'"),
        (BLOCK[: BLOCK.index("Inference (max)")], "want all of the block"),
        ('{"latency": {"avg_ms": 3}}', "got a broken one"),
        ('{"latency": ', "got a broken one"),
    ],
)
def test_output_that_is_cut_off_has_no_figures(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_benchmark_model(text)
