"""`pocketportrait mac`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages


@app.command()
def mac(
    bundle: Annotated[Path, typer.Argument(help="A bundle with Core ML variants.")],
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help=".json for import-result; .html, .md, .csv; repeatable."),
    ] = None,
    iphone: Annotated[
        str | None,
        typer.Option(help="Also this iPhone on a cable, by its name; '' for the only one."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Frames that count.")] = 100,
    warmup: Annotated[int, typer.Option(help="Frames before the clock counts.")] = 10,
) -> None:
    """On a Mac: parity, ms and compute plan on CPU, GPU and Neural Engine, as a record; exit 1 on a fault."""
    # engines take a while to import; `--help` must not pay for them
    from pocketportrait.validation.bench import BenchOptions
    from pocketportrait.validation.bench_table import print_bench
    from pocketportrait.validation.mac import measure_mac
    from pocketportrait.validation.report import check_forms, write_report
    from pocketportrait.validation.table import print_report

    places = out or [Path("out/mac.json")]
    check_forms(places)
    options = BenchOptions(rounds=rounds, warmup=warmup)
    with stages("mac") as tell:
        report = measure_mac(bundle, options, phone=iphone, tell=tell)
    for verification in report.verifications:
        print_report(verification, matrix=True)
    for bench in report.benches:
        print_bench(bench)
    for place in places:
        write_report(report, place)
        typer.echo(f"record: {place}")
    raise typer.Exit(report.exit_code())
