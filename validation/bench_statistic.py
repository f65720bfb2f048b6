"""Is B slower than A? A verdict that a busy machine does not talk into an answer.

Timings follow one another: a neighbour's job slows hundreds of frames in a row, so they are no
independent draws. Rounds are therefore resampled in blocks (circular block bootstrap, Politis and
Romano 1992) that are longer than the series remembers, and B is called slower only where the whole
confidence interval lies beyond the smallest effect that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.validation.bench_record import Comparison, Verdict

ALPHA = 0.01
SMALLEST_EFFECT = 0.03
RESAMPLES = 2000
LEAST_ROUNDS = 20
LEAST_BLOCKS = 12  # fewer independent pieces than this tell nothing at 99 %
SOKAL_WINDOW = 5  # autocorrelation times that a sum of correlations reaches over


@dataclass(frozen=True, slots=True)
class Bounds:
    """How sure a verdict has to be, and how large an effect has to be."""

    alpha: float = ALPHA
    smallest_effect: float = SMALLEST_EFFECT
    resamples: int = RESAMPLES
    seed: int = 0


def compare_rounds(
    a: tuple[str, Sequence[float]], b: tuple[str, Sequence[float]], bounds: Bounds | None = None
) -> Comparison:
    """Judge rounds in which A and B had their turn one after the other.

    The figure is exp(median(log B - log A)) over the rounds: what slows both in a round cancels.

    Args:
        a: name and durations in ms, one a round.
        b: the same, of the same rounds.
        bounds: 99 % and 3 % by default.

    Raises:
        InputError: unlike or too few rounds, or durations that are not above zero.

    """
    first, second = _logs(a), _logs(b)
    if len(first) != len(second):
        raise InputError(
            f"bench: want as many rounds of A as of B, got {len(first)}, {len(second)}"
        )
    difference = second - first
    block = block_length(difference)

    def figures(random: np.random.Generator, resamples: int) -> Array:
        return _medians(difference, _draws(random, resamples, len(difference), block))

    return _judged((a[0], b[0]), float(np.median(difference)), figures, block, len(first), bounds)


def compare_runs(
    a: tuple[str, Sequence[float]], b: tuple[str, Sequence[float]], bounds: Bounds | None = None
) -> Comparison:
    """Judge two runs that were measured apart: the ratio of their medians, each resampled by itself.

    What a machine did differently between the runs does not cancel; ask for a larger effect then.

    Raises:
        InputError: as `compare_rounds`; lengths may differ.

    """
    first, second = _logs(a), _logs(b)
    block = max(block_length(first), block_length(second))

    def figures(random: np.random.Generator, resamples: int) -> Array:
        one, other = (
            _medians(s, _draws(random, resamples, len(s), block)) for s in (first, second)
        )
        return other - one

    ratio = float(np.median(second) - np.median(first))
    rounds = min(len(first), len(second))
    return _judged((a[0], b[0]), ratio, figures, block, rounds, bounds)


def block_length(series: Array) -> int:
    """Return how many rounds to draw together: twice the autocorrelation time, and at least n^(1/3).

    The time is Sokal's self-consistent window over the ranks, which outliers cannot move.
    """
    count = len(series)
    ranks = np.argsort(np.argsort(series)).astype(np.float64)
    ranks -= ranks.mean()
    power = np.abs(np.fft.rfft(ranks, 2 * count)) ** 2
    correlation = np.fft.irfft(power)[:count]
    correlation = correlation / correlation[0]
    time: float = 1.0
    for lag in range(1, count):
        time += 2 * float(correlation[lag])
        if lag >= SOKAL_WINDOW * time:
            break
    return max(math.ceil(2 * time), math.ceil(math.cbrt(count)))


def _draws(random: np.random.Generator, resamples: int, count: int, block: int) -> Array:
    """Return index rows [resamples, count], each made of circular blocks."""
    starts = random.integers(0, count, (resamples, math.ceil(count / block)))
    rows = (starts[:, :, None] + np.arange(block)) % count
    return rows.reshape(resamples, -1)[:, :count]


def _medians(series: Array, draws: Array) -> Array:
    """Return the median of every row of draws; counting ranks is thrice as fast as sorting rows."""
    resamples, count = draws.shape
    order = np.argsort(series)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    cells = rank[draws] + count * np.arange(resamples)[:, None]
    seen = np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count)
    below = np.cumsum(seen, axis=1)
    middle = [(below >= half).argmax(axis=1) for half in ((count + 1) // 2, count // 2 + 1)]
    medians: Array = (series[order[middle[0]]] + series[order[middle[1]]]) / 2
    return medians


def _judged(
    names: tuple[str, str],
    log_ratio: float,
    figures: Callable[[np.random.Generator, int], Array],
    block: int,
    rounds: int,
    bounds: Bounds | None,
) -> Comparison:
    bounds = bounds or Bounds()
    drawn = figures(np.random.default_rng(bounds.seed), bounds.resamples)
    low, high = np.exp(np.quantile(drawn, [bounds.alpha / 2, 1 - bounds.alpha / 2]))
    verdict: Verdict = "not distinguishable"
    note = ""
    if rounds < LEAST_BLOCKS * block:
        note = f"{block} rounds in a row are alike, so {rounds} tell too little; measure more"
    elif low > 1 + bounds.smallest_effect:
        verdict = "slower"
    elif high < 1 / (1 + bounds.smallest_effect):
        verdict = "faster"
    return Comparison(
        a=names[0],
        b=names[1],
        verdict=verdict,
        ratio=math.exp(log_ratio),
        low=float(low),
        high=float(high),
        alpha=bounds.alpha,
        smallest_effect=bounds.smallest_effect,
        block=block,
        rounds=rounds,
        note=note,
    )


def _logs(run: tuple[str, Sequence[float]]) -> Array:
    name, durations_ms = run
    values = np.asarray(durations_ms, np.float64)
    if len(values) < LEAST_ROUNDS:
        raise InputError(f"{name}: want {LEAST_ROUNDS} rounds at least, got {len(values)}")
    if not (values > 0).all() or not np.isfinite(values).all():
        raise InputError(f"{name}: want durations above 0 ms, got {values.min():g}")
    return np.log(values)
