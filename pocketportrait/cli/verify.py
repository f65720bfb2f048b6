"""`pocketportrait verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages

JsonPath = Annotated[Path | None, typer.Option("--json", help="Write the report as JSON here.")]
JUnitPath = Annotated[
    Path | None, typer.Option("--junit", help="Write the report as JUnit XML here.")
]


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or a .zip of one.")],
    format: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Only this format; may be repeated.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", "-p", help="Only this precision; may be repeated."),
    ] = None,
    runner: Annotated[
        str | None, typer.Option(help="Run with this runner, such as tflite-runtime or oracle.")
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--targets", "-t", help="Run on these, such as local:onnxruntime,qemu:arm64-a53."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Warnings fail, and what could not be run is an error."),
    ] = False,
    trust: Annotated[
        Path | None, typer.Option(help="Exit 1 unless it is signed by this public key (KEY.pub).")
    ] = None,
    json: JsonPath = None,
    junit: JUnitPath = None,
) -> None:
    """Check hashes, specs and parity of every file of a bundle, here or on targets; exit 1 if one fails."""
    # the engines take seconds to import; `--help` must not pay for them
    from pocketportrait.bundle import Bundle
    from pocketportrait.bundle.signature import check_signature
    from pocketportrait.runtime.targets.registry import targets_named
    from pocketportrait.validation.junit import write_junit
    from pocketportrait.validation.table import print_report
    from pocketportrait.validation.verify import verify as verify_bundle

    where = targets_named(targets) if targets else None
    with Bundle.open(bundle) as opened, stages("verify") as tell:
        if trust:
            check_signature(opened, trust)
        report = verify_bundle(
            opened,
            formats=format,
            precisions=precision,
            runner=runner,
            targets=where,
            tell=tell,
        )
    print_report(report, matrix=where is not None)
    if json:
        report.to_json(json)
    if junit:
        write_junit(report, junit)
    raise typer.Exit(report.exit_code(strict=strict))
