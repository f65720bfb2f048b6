"""`pocketportrait targets app`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.progress import stages
from pocketportrait.cli.targets import targets
from pocketportrait.cli.verify import JsonPath, JUnitPath

if TYPE_CHECKING:
    from pocketportrait.validation.bench_record import VariantBench


@targets.command()
def app(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or a .zip of one.")],
    device: Annotated[str, typer.Option("--device", "-d", help="adb:SERIAL, or adb.")] = "adb",
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", "-p", help="Only this precision; may be repeated."),
    ] = None,
    engine: Annotated[str, typer.Option(help="ort or litert.")] = "ort",
    accel: Annotated[str, typer.Option(help="cpu, or gpu of litert.")] = "cpu",
    runs: Annotated[int, typer.Option(min=1, help="Passes of every graph that count.")] = 30,
    json: JsonPath = None,
    junit: JUnitPath = None,
) -> None:
    """Let the Android app on a phone replay and time a bundle; exit 1 if a graph is too far off."""
    from pocketportrait.bundle import Bundle
    from pocketportrait.runtime.targets.adb_app import AppJob, app_named, precisions_for
    from pocketportrait.validation.phone import check_on_phone
    from pocketportrait.validation.report import write_report
    from pocketportrait.validation.table import print_report

    phone = app_named(device)
    with Bundle.open(bundle) as opened, stages("app") as tell:
        jobs = [
            AppJob(opened, name, engine, accel, runs)
            for name in precision or precisions_for(opened, engine)
        ]
        report = check_on_phone(phone, jobs, tell)
    for verification, bench in zip(report.verifications, report.benches, strict=True):
        print_report(verification)
        for row in bench.variants:
            typer.echo(f"{row.name}: {_times(row)}")
    if json:
        report.to_json(json)
    if junit:
        write_report(report, junit, form=".xml")
    raise typer.Exit(report.exit_code())


def _times(row: VariantBench) -> str:
    if row.frame is None:
        return f"not timed: {row.skipped}"
    return f"{row.frame.p50_ms:.1f} ms a frame, 95 % within {row.frame.p95_ms:.1f} ms"
