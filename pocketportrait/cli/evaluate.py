"""`pocketportrait evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import counted

BundlePath = Annotated[
    Path | None, typer.Argument(help="A folder or .zip; the shipped bundle by default.")
]
Data = Annotated[Path, typer.Option(help="Framed clips: a folder with manifest.json, or videos.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the record and sheets go.")]
Format = Annotated[str, typer.Option("--format", "-f", help="onnx, tflite or coreml.")]
Precision = Annotated[str, typer.Option("--precision", "-p", help="A variant's name.")]
RunnerName = Annotated[
    str | None, typer.Option(help="Run with this runner, such as tflite-runtime.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the engine chooses by default.")]
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
Rendered = Annotated[
    Path | None,
    typer.Option(help="Score these videos, named as the clips, instead of a bundle."),
]
Cross = Annotated[
    int, typer.Option(min=0, help="Also so many pairs of a driver and another person's photo.")
]
Clips = Annotated[
    list[str] | None, typer.Option("--clips", help="Only this clip; may be repeated.")
]
Split = Annotated[str, typer.Option(help="Of the manifest; all for every one.")]
Origin = Annotated[str | None, typer.Option(help="Of the manifest, such as footage.")]
Frames = Annotated[int | None, typer.Option(min=2, help="Only so many frames of each clip.")]
Drift = Annotated[
    int, typer.Option("--drift-frames", min=0, help="Length of the drift test; 0 for none.")
]
Keep = Annotated[bool, typer.Option("--keep-clips", help="Keep what is drawn, lossless, in OUT.")]


@app.command()
def evaluate(
    data: Data,
    bundle: BundlePath = None,
    out: Out = Path("out/evaluation"),
    format: Format = "onnx",
    precision: Precision = "fp32",
    runner: RunnerName = None,
    threads: Threads = None,
    score_models: Models = None,
    score_python: Python = None,
    rendered: Rendered = None,
    cross: Cross = 0,
    clips: Clips = None,
    split: Split = "val",
    origin: Origin = None,
    frames: Frames = None,
    drift_frames: Drift = 250,
    keep_clips: Keep = False,
) -> None:
    """Let held-out clips perform themselves and measure how well: pixels, faces, motion over time."""
    # engines and video libraries take a while to import; `--help` must not pay for them
    from pocketportrait.validation.portrait_evaluation import RECORD, EvaluationOptions
    from pocketportrait.validation.portrait_evaluation import evaluate as evaluate_model
    from pocketportrait.validation.portrait_table import print_evaluation

    options = EvaluationOptions(
        data=data,
        out=out,
        format=format,
        precision=precision,
        runner=runner,
        threads=threads,
        rendered=rendered,
        split=split,
        origin=origin,
        clips=tuple(clips or ()),
        frames=frames,
        cross=cross,
        drift_frames=drift_frames,
        score_models=score_models,
        score_python=score_python,
        keep_clips=keep_clips,
    )
    with counted("evaluate") as tell:
        record = evaluate_model(bundle, options, progress=tell)
    print_evaluation(record)
    for warning in record.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"sheets: {out / 'sheets'}")
    typer.echo(f"record: {out / RECORD}")
