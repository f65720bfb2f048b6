"""The A/B verdict on timings that were recorded with `bench`, and on made-up ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.validation.bench_statistic import (
    Bounds,
    block_length,
    compare_rounds,
    compare_runs,
)
from pocketportrait.validation.report_record import read_result

# `bench -v onnx/fp16 --against onnx/fp16 --rounds 160 --threads 1`, while others kept both cores busy
RECORDED = Path(__file__).parent / "recordings" / "bench-onnx-fp16-twice.json"
RESAMPLINGS, WANTED = 100, 97
BLOCK = 8  # rounds that a resampling keeps together
QUICK = Bounds(resamples=1000)

Judge = Callable[[Array, Array], str]


@pytest.fixture(scope="module")
def recorded() -> tuple[Array, Array]:
    (bench,) = read_result(RECORDED).benches
    first, second = bench.variants
    assert bench.load_1m is not None
    assert bench.load_1m > 2 * bench.machine.cores  # a machine as busy as it gets
    return np.array(first.frame_ms), np.array(second.frame_ms)


def resampled(one: Array, other: Array) -> Iterator[tuple[Array, Array]]:
    """Yield rounds drawn in blocks, with A and B exchanged by lot."""
    count = len(one)
    for seed in range(RESAMPLINGS):
        random = np.random.default_rng(seed)
        starts = random.integers(0, count, math.ceil(count / BLOCK))
        rounds = ((starts[:, None] + np.arange(BLOCK)) % count).ravel()[:count]
        exchanged = random.random(count) < 0.5
        a, b = one[rounds], other[rounds]
        yield np.where(exchanged, b, a), np.where(exchanged, a, b)


def verdicts(one: Array, other: Array, factor: float, judge: Judge) -> Counter[str]:
    return Counter(judge(a, b * factor) for a, b in resampled(one, other))


def ours(a: Array, b: Array) -> str:
    return compare_rounds(("A", a.tolist()), ("B", b.tolist()), QUICK).verdict


def by_means(a: Array, b: Array) -> str:
    """Judge as one does by hand: more than 3 % apart on average."""
    ratio = b.mean() / a.mean()
    return "slower" if ratio > 1.03 else "faster" if ratio < 1 / 1.03 else "not distinguishable"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "not distinguishable"), (1.1, "slower")])
def test_a_recorded_series_against_itself_and_against_ten_per_cent_more(
    recorded: tuple[Array, Array], factor: float, verdict: str
) -> None:
    series = recorded[0]
    assert verdicts(series[0::2], series[1::2], factor, ours)[verdict] >= WANTED


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "not distinguishable"), (1.1, "slower"), (1 / 1.1, "faster")]
)
def test_recorded_turns_of_one_variant_against_itself(
    recorded: tuple[Array, Array], factor: float, verdict: str
) -> None:
    assert verdicts(*recorded, factor, ours)[verdict] >= WANTED


def test_a_wrong_statistic_would_be_seen(recorded: tuple[Array, Array]) -> None:
    halves = recorded[0][0::2], recorded[0][1::2]
    same = verdicts(*halves, 1.0, by_means)["not distinguishable"]
    slower = verdicts(*halves, 1.1, by_means)["slower"]
    assert min(same, slower) < WANTED


def memory(random: np.random.Generator, count: int, keep: float) -> Array:
    """Return noise of variance 1 that remembers `keep` of itself from round to round."""
    values = random.normal(size=count)
    for i in range(1, count):
        values[i] = keep * values[i - 1] + math.sqrt(1 - keep**2) * values[i]
    return values


def test_noise_that_lasts_is_not_taken_for_a_difference() -> None:
    found = Counter()
    for seed in range(40):
        random = np.random.default_rng(seed)
        a, b = (np.exp(0.15 * memory(random, 200, 0.95)) for _ in range(2))
        found[ours(a, b)] += 1
    assert found["not distinguishable"] >= 39


def test_a_slow_hour_that_both_live_through_hides_nothing() -> None:
    random = np.random.default_rng(5)
    weather = np.exp(0.5 * memory(random, 200, 0.98))
    a, b = (weather * np.exp(0.05 * random.normal(size=200)) for _ in range(2))
    assert ours(a, b) == "not distinguishable"
    assert ours(a, 1.08 * b) == "slower"
    assert ours(1.08 * a, b) == "faster"


def test_an_effect_that_is_certain_but_small_is_none() -> None:
    random = np.random.default_rng(1)
    a, b = (10 + 0.01 * random.normal(size=100) for _ in range(2))
    found = compare_rounds(("A", a.tolist()), ("B", (1.02 * b).tolist()))
    assert found.verdict == "not distinguishable"
    assert 1.01 < found.low < found.ratio < found.high < 1.03
    assert "not distinguishable, 1.02" in found.line


def test_blocks_grow_with_memory() -> None:
    short, long = (
        np.median([block_length(memory(np.random.default_rng(s), 400, keep)) for s in range(9)])
        for keep in (0.0, 0.9)
    )
    assert short == math.ceil(400 ** (1 / 3))
    assert long > 2 * short


def test_too_few_independent_rounds_say_so() -> None:
    drift = np.linspace(1, 2, 60)
    found = compare_rounds(("A", [1.0] * 60), ("B", drift.tolist()))
    assert found.verdict == "not distinguishable"
    assert "measure more" in found.note


def test_two_runs_are_judged_by_their_medians() -> None:
    random = np.random.default_rng(3)
    a, b = (np.exp(0.1 * random.normal(size=size)).tolist() for size in (150, 200))
    assert compare_runs(("A", a), ("B", b), QUICK).verdict == "not distinguishable"
    slower = compare_runs(("A", a), ("B", [1.2 * v for v in b]), QUICK)
    assert (slower.verdict, slower.rounds) == ("slower", 150)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1.0] * 30, [1.0] * 29, "as many rounds of A as of B, got 30, 29"),
        ([1.0] * 5, [1.0] * 5, "want 20 rounds at least, got 5"),
        ([1.0] * 30, [0.0] * 30, "want durations above 0 ms"),
        ([1.0] * 30, [math.nan] * 30, "want durations above 0 ms"),
    ],
)
def test_series_that_cannot_be_judged_are_refused(
    a: list[float], b: list[float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        compare_rounds(("A", a), ("B", b))
