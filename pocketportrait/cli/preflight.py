"""`pocketportrait preflight`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages


@app.command()
def preflight(
    model: Annotated[
        Path, typer.Argument(help="A bundle, or an .onnx, .tflite or .mlpackage file of any model.")
    ],
    targets: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Targets with commas: litert-gpu, coreml-ane, ort-xnnpack, ort-nnapi, webgpu.",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON here.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the report as JUnit XML here.")
    ] = None,
) -> None:
    """Say what a graph will meet on a target, and the exact rewrite; exit 1 if there is an error."""
    # readers and engines take seconds to import; `--help` must not pay for them
    from pocketportrait.validation.preflight.check import preflight as check
    from pocketportrait.validation.preflight.shown import lines, write_junit

    with stages("preflight") as tell:
        report = check(model, targets, tell=tell)
    for line in lines(report):
        typer.echo(line)
    if json:
        report.to_json(json)
    if junit:
        write_junit(report, junit)
    raise typer.Exit(report.exit_code(strict=strict))
