"""`pocketportrait gates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import counted

Data = Annotated[
    Path | None, typer.Option(help="Framed clips, as for evaluate; the sample drivers by default.")
]
Models = Annotated[
    Path | None,
    typer.Option(help="A folder with the face models; without it face figures are skipped."),
]
Python = Annotated[
    Path | None,
    typer.Option(
        envvar="POCKETPORTRAIT_SCORE_PYTHON",
        help="An environment with MediaPipe, or its interpreter.",
    ),
]


@app.command()
def gates(
    bundle: Annotated[
        Path | None, typer.Argument(help="A folder or .zip; the shipped bundle by default.")
    ] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where clips and records go.")] = Path(
        "out/gates"
    ),
    format: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Only this format; may be repeated.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", "-p", help="Only this precision; may be repeated."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of the manifest; all for every one.")] = "val",
    clips: Annotated[
        list[str] | None, typer.Option("--clips", help="Only this clip; may be repeated.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=2, help="Only so many of each clip.")] = None,
    drift_frames: Annotated[
        int, typer.Option("--drift-frames", min=0, help="Length of the drift test; 0 for none.")
    ] = 250,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the engine.")] = None,
    score_models: Models = None,
    score_python: Python = None,
    strict: Annotated[bool, typer.Option("--strict", help="Skipped figures are an error.")] = False,
) -> None:
    """Judge what every variant draws beside the fp32 variant; exit 1 if one lost too much."""
    # engines and video libraries take a while to import; `--help` must not pay for them
    from pocketportrait.validation.portrait_gates import GateOptions, portrait_gates
    from pocketportrait.validation.report import write_report
    from pocketportrait.validation.report_text import gate_lines

    options = GateOptions(
        out=out,
        data=data,
        formats=tuple(format or ()),
        precisions=tuple(precision or ()),
        split=split,
        clips=tuple(clips or ()),
        frames=frames,
        drift_frames=drift_frames,
        threads=threads,
        score_models=score_models,
        score_python=score_python,
    )
    with counted("gates") as tell:
        report = portrait_gates(bundle, options, progress=tell)
    for line in gate_lines(report):
        typer.echo(line)
    for form in ("json", "html", "xml"):
        write_report(report, out / f"report.{form}")
    typer.echo(f"report: {out / 'report.html'}")
    raise typer.Exit(report.exit_code(strict=strict))
