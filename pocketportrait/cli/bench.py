"""`pocketportrait bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages

BundlePath = Annotated[
    Path | None, typer.Argument(help="A folder or .zip; the shipped bundle by default.")
]
Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", "-v", help="Such as onnx/fp32 or onnx/fp32@RUNNER; all by default."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--targets", "-t", help="There, such as ssh:HOST,adb,browser; not in a process."),
]
Against = Annotated[
    str, typer.Option(help="B of an A/B run in turns; --variant is A. May be the same variant.")
]
AgainstBundle = Annotated[
    Path | None, typer.Option(help="Where B is; its variant is that of A by default.")
]
Rounds = Annotated[int, typer.Option(help="Frames that count.")]
Warmup = Annotated[int, typer.Option(help="Frames before the clock counts.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the engine chooses by default.")]
Sustained = Annotated[
    str,
    typer.Option(help="Then draw without a pause for so long, such as 30m: a curve by minutes."),
]
EndToEnd = Annotated[
    bool, typer.Option("--end-to-end", help="Also every stage from the driver's file to a video.")
]
Driver = Annotated[Path | None, typer.Option(help="Its video; a sample by default.")]
Baseline = Annotated[
    Path | None, typer.Option(help="A --json of before: exit 1 if a variant is slower now.")
]
Tolerance = Annotated[
    float, typer.Option(min=0, help="Slower than the baseline begins here, in per cent.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Too noisy to tell, or no fitting baseline, is an error.")
]
JsonPath = Annotated[Path | None, typer.Option("--json", help="Write the report as JSON here.")]
JUnitPath = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")]
ReportPath = Annotated[
    list[Path] | None, typer.Option("--report", help="Write .html, .md or .csv; may be repeated.")
]


@app.command()
def bench(
    bundle: BundlePath = None,
    variant: Variants = None,
    targets: Targets = None,
    against: Against = "",
    against_bundle: AgainstBundle = None,
    rounds: Rounds = 100,
    warmup: Warmup = 10,
    threads: Threads = None,
    sustained: Sustained = "",
    end_to_end: EndToEnd = False,
    driver: Driver = None,
    baseline: Baseline = None,
    tolerance: Tolerance = 10.0,
    strict: Strict = False,
    json: JsonPath = None,
    junit: JUnitPath = None,
    report: ReportPath = None,
) -> None:
    """Time variants: load, first run, percentiles, memory, who ran what; A against B; a baseline."""
    # engines take a while to import; `--help` must not pay for them
    from pocketportrait.validation.bench import BenchOptions, read_duration_s
    from pocketportrait.validation.bench_baseline import regression_code
    from pocketportrait.validation.bench_run import BenchPlan, run_bench
    from pocketportrait.validation.bench_table import print_bench
    from pocketportrait.validation.report import check_forms, write_report

    places = [*(report or ()), *([json] if json else [])]
    check_forms(places)
    plan = BenchPlan(
        variants=tuple(variant or ()),
        targets=tuple(targets or ()),
        against=against,
        against_bundle=against_bundle,
        sustained_s=read_duration_s(sustained) if sustained else 0.0,
        end_to_end=end_to_end,
        driver=driver,
        baseline=baseline,
        baseline_effect=tolerance / 100,
        options=BenchOptions(rounds=rounds, warmup=warmup, threads=threads),
    )
    with stages("bench") as tell:
        found = run_bench(bundle, plan, tell)
    for one in found.benches:
        print_bench(one)
    for place in places:
        write_report(found, place)
    if junit:
        write_report(found, junit, form=".xml")
    regressions = [one for bench in found.benches for one in bench.regressions]
    raise typer.Exit(regression_code(regressions, strict=strict))
