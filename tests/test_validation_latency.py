import pytest

from pocketportrait.errors import InputError
from pocketportrait.validation.bench_record import Timing
from pocketportrait.validation.latency import measure


def test_percentiles_leave_the_warm_up_out() -> None:
    got = Timing.of([500.0, 400.0, *range(1, 101)], warmup=2)
    assert (got.p50_ms, got.repeats, got.warmup) == (50.5, 100, 2)
    assert got.p95_ms == pytest.approx(95.05)


def test_only_warm_up_is_refused() -> None:
    with pytest.raises(InputError, match="want more than 3 calls"):
        Timing.of([1.0, 2.0, 3.0], warmup=3)


def test_measure_calls_as_often_as_it_says() -> None:
    calls: list[int] = []
    got = measure(lambda: calls.append(1), warmup=2, repeats=4)
    assert (len(calls), got.repeats) == (6, 4)
    assert 0 <= got.p50_ms <= got.p95_ms
