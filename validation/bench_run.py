"""One run of the `bench` command: what is measured, in which order, and what it is held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError
from pocketportrait.runtime.animation import default_bundle
from pocketportrait.runtime.runner import choose_runner, is_emulated
from pocketportrait.runtime.targets.registry import targets_named
from pocketportrait.validation.bench import (
    BenchOptions,
    Choice,
    all_variants,
    compare_variants,
    empty_bench,
    measure_sustained,
    measure_variants,
)
from pocketportrait.validation.bench_baseline import BASELINE_EFFECT, against_baseline
from pocketportrait.validation.bench_budget import measure_budget
from pocketportrait.validation.bench_record import Bench
from pocketportrait.validation.bench_statistic import Bounds
from pocketportrait.validation.bench_target import measure_targets
from pocketportrait.validation.report_record import BundleFacts, Report, read_result

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to measure; variants are named `format/precision` or `format/precision@runner`."""

    variants: tuple[str, ...] = ()  # all of the bundle by default
    targets: tuple[str, ...] = ()  # other machines, by name; a process of this one by default
    against: str = ""  # B of an A/B run; of `against_bundle` the same variant by default
    against_bundle: Path | None = None
    sustained_s: float = 0.0  # 0: no sustained run
    end_to_end: bool = False
    driver: Path | None = None  # of the end-to-end run
    baseline: Path | None = None
    baseline_effect: float = BASELINE_EFFECT
    options: BenchOptions = field(default_factory=BenchOptions)


def run_bench(
    bundle: Path | None, plan: BenchPlan | None = None, tell: Tell = lambda _: None
) -> Report:
    """Measure what a plan asks for.

    Args:
        bundle: a folder or `.zip`; the shipped one by default.
        plan: see `BenchPlan`.
        tell: called with a line before each part.

    Returns:
        a report that holds one benchmark (of targets: one a device and engine) and the facts of its
        bundles.

    Raises:
        InputError: a bundle, variant or baseline that cannot be used, nothing that can be timed, or an
            A/B or end-to-end run asked for on targets.
        TargetError: a target broke off.
        MissingToolError: an A/B run, a sustained or an end-to-end one of a variant that cannot run here.

    """
    plan = plan or BenchPlan()
    baselines = read_result(plan.baseline).benches if plan.baseline else ()
    if plan.baseline and not baselines:
        raise InputError(f"{plan.baseline}: want a benchmark to compare with, got none in it")
    with ExitStack() as stack:
        opened = stack.enter_context(Bundle.open(bundle or default_bundle()))
        choices = [Choice.read(opened, text) for text in plan.variants] or [*all_variants(opened)]
        if plan.targets:
            return _report([opened], _on_targets(choices, baselines, plan, tell))
        bench, held = empty_bench(), [opened]
        if plan.against or plan.against_bundle:
            other = opened
            if plan.against_bundle:
                other = stack.enter_context(Bundle.open(plan.against_bundle))
                held.append(other)
            bench = _compared(bench, choices, other, plan, tell)
        else:
            found = measure_variants(choices, plan.options, tell)
            bench = bench.model_copy(update={"variants": found})
        bench = _played(bench, choices, plan, tell)
        return _report(held, (_gated(bench, baselines, plan),))


def _report(held: Sequence[Bundle], benches: tuple[Bench, ...]) -> Report:
    return Report(
        title="Pocket Portrait: milliseconds",
        bundles=tuple(BundleFacts.of(one) for one in held),
        benches=benches,
    )


def _on_targets(
    choices: Sequence[Choice], baselines: tuple[Bench, ...], plan: BenchPlan, tell: Tell
) -> tuple[Bench, ...]:
    if plan.against or plan.against_bundle or plan.end_to_end:
        raise InputError(
            "bench: want one of --targets and --against or --end-to-end, got both; turns and"
            " stages are measured in processes of this machine"
        )
    targets = targets_named(plan.targets)
    sustained_s = plan.sustained_s
    benches = measure_targets(choices, targets, plan.options, sustained_s=sustained_s, tell=tell)
    timed = [one for one in benches if any(row.frame for row in one.variants)]
    if baselines and not timed:
        raise InputError("bench: want a timed variant to hold against the baseline, got none")
    return tuple(_gated(one, baselines, plan) if one in timed else one for one in benches)


def _compared(
    bench: Bench, choices: list[Choice], other: Bundle, plan: BenchPlan, tell: Tell
) -> Bench:
    if len(choices) != 1:
        names = ", ".join(c.variant for c in choices)
        raise InputError(f"bench: want one variant as A, got {names}; name it with --variant")
    second = Choice.read(other, plan.against or plan.variants[0] if plan.variants else plan.against)
    pair, comparison = compare_variants(choices[0], second, plan.options, tell)
    return bench.model_copy(update={"variants": pair, "comparisons": (comparison,)})


def _played(bench: Bench, choices: list[Choice], plan: BenchPlan, tell: Tell) -> Bench:
    """Add sustained and end-to-end runs of every variant that can be timed here."""
    if not plan.sustained_s and not plan.end_to_end:
        return bench
    timed = [c for c in choices if not is_emulated(choose_runner(c.format, c.runner))]
    sustained, budgets = [], []
    for choice in timed:
        if plan.end_to_end:
            tell(f"{choice.variant} from file to file")
            budgets.append(measure_budget(choice, plan.options, plan.driver))
        if plan.sustained_s:
            tell(f"{choice.variant} for {plan.sustained_s:g} s")
            sustained.append(measure_sustained(choice, plan.sustained_s, plan.options, tell=tell))
    return bench.model_copy(update={"sustained": tuple(sustained), "budgets": tuple(budgets)})


def _gated(bench: Bench, baselines: tuple[Bench, ...], plan: BenchPlan) -> Bench:
    if not baselines:
        return bench
    bounds = Bounds(smallest_effect=plan.baseline_effect)
    found = against_baseline(bench, baselines, bounds)
    if not found:
        raise InputError("bench: want a timed variant to hold against the baseline, got none")
    return bench.model_copy(update={"regressions": found})
