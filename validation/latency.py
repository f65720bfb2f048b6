"""Quick timing inside this process, for tables that show many variants; `bench` measures with care."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import open_runner
from pocketportrait.validation.bench_record import Timing
from pocketportrait.validation.samples import golden_samples


@dataclass(frozen=True, slots=True)
class FrameLatency:
    """What a driving frame costs in one variant; `appearance` is paid once a photo."""

    variant: str
    runner: str
    appearance: Timing
    motion: Timing
    render: Timing

    @property
    def frame_ms(self) -> float:
        """Return the medians of `motion` and `render` together."""
        return self.motion.p50_ms + self.render.p50_ms


def measure(call: Callable[[], object], *, warmup: int = 5, repeats: int = 30) -> Timing:
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
    return Timing.of(durations_ms, warmup=warmup)


def measure_variant(
    bundle: Bundle,
    format: str,
    precision: str,
    runner: str,
    *,
    warmup: int = 5,
    repeats: int = 30,
    threads: int | None = None,
) -> FrameLatency:
    """Time the three graphs of a variant on their first golden input, as a session calls them.

    Args:
        bundle: where the files are.
        format: one of the bundle's formats.
        precision: the variant's name.
        runner: the runner's name; an evaluator's times are no device's latency.
        warmup: passes before the clock counts.
        repeats: passes that count.
        threads: None lets the engine choose.

    Raises:
        InputError: the bundle does not hold the variant, or has no golden vectors.
        MissingToolError: the runner cannot be used here.

    """
    found = {}
    for graph in GRAPHS:
        sample = next(golden_samples(bundle, graph), None)
        if sample is None:
            raise InputError(f"{graph}: want golden vectors to time it on, got none; export again")
        held = {
            k: v for k, v in sample.feed.items() if k.startswith("features") or k == "source_code"
        }
        feed = {k: v for k, v in sample.feed.items() if k not in held}
        with open_runner(
            bundle, format, precision, graph, runner=runner, threads=threads
        ) as opened:
            opened.bind(held)  # what belongs to the photo does not change from frame to frame

            def call(opened: ContractRunner = opened, feed: dict[str, Array] = feed) -> object:
                return opened.infer(feed)

            found[graph] = measure(call, warmup=warmup, repeats=repeats)
    return FrameLatency(f"{format}/{precision}", runner, **found)
