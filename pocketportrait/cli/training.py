"""`pocketportrait label` and `pocketportrait train`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted, line_of_log
from pocketportrait.errors import InputError

Data = Annotated[Path, typer.Option(help="A folder with clips/, labelled.")]
Out = Annotated[Path, typer.Option(help="Where checkpoint, weights, log and sheets go.")]
Labels = Annotated[Path | None, typer.Option(help="DATA/labels by default.")]
Cache = Annotated[Path | None, typer.Option(help="Decoded frames; out/cache by default.")]
Preset = Annotated[
    str, typer.Option(help="Sizes: phone, tiny, native (a teacher), or a .json file.")
]
Plan = Annotated[
    Path | None, typer.Option(help="Phases as JSON; those of a full training by default.")
]
Seed = Annotated[int, typer.Option(help="Seed of weights and of the order of pairs.")]
Minutes = Annotated[
    float | None, typer.Option(min=0, help="Stop after this long; the same command goes on later.")
]
Start = Annotated[Path | None, typer.Option(help="Weights to begin with.")]
Monitor = Annotated[Path | None, typer.Option(help="Another labelled folder to watch figures on.")]
MonitorLabels = Annotated[Path | None, typer.Option(help="MONITOR/labels by default.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Average = Annotated[
    float, typer.Option(min=0, max=1, help="Decay a step of the moving average that is written.")
]
Licence = Annotated[str, typer.Option(help="Licence of the weights, kept in their metadata.")]


@app.command()
def label(
    data: Annotated[Path, typer.Argument(help="A folder with clips/*.mp4.")],
    model: Annotated[
        Path | None,
        typer.Option(help="MediaPipe's face landmarker; looked for near the data by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where labels go; DATA/labels by default.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="An interpreter with mediapipe, av, numpy and safetensors.")
    ] = None,
    rate_hz: Annotated[
        float, typer.Option(min=0.1, help="Frames a second that are labelled.")
    ] = 10.0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
) -> None:
    """Label clips once with landmarks, blendshapes and head pose; what is labelled is kept."""
    from pocketportrait.distill.labels import label_data

    def on_clip(line: Mapping[str, object]) -> None:
        typer.echo(" ".join(str(value) for value in line.values()))

    folder = label_data(
        data, model=model, out=out, python=python, rate_hz=rate_hz, jobs=jobs, on_clip=on_clip
    )
    typer.echo(f"labels: {folder}")


@app.command()
def train(
    data: Data,
    out: Out = Path("out/train"),
    labels: Labels = None,
    cache: Cache = None,
    preset: Preset = "phone",
    plan: Plan = None,
    seed: Seed = 0,
    minutes: Minutes = None,
    start: Start = None,
    monitor: Monitor = None,
    monitor_labels: MonitorLabels = None,
    threads: Threads = None,
    average: Average = 0.995,
    licence: Licence = "",
) -> None:
    """Train a student from labelled clips; a run that was stopped goes on where it stood."""
    with needs("train"):
        # torch takes seconds to import; `--help` must not pay for it
        from pocketportrait.distill.plan import TrainOptions, phone_plan, read_plan
        from pocketportrait.distill.trainer import train as train_student
    options = TrainOptions(
        data=data,
        out=out,
        labels=labels,
        cache=cache,
        preset=preset,
        plan=read_plan(plan) if plan else phone_plan(),
        seed=seed,
        minutes=math.inf if minutes is None else minutes,
        start=start,
        monitor=monitor,
        monitor_labels=monitor_labels,
        threads=threads,
        average=average,
        licence=licence,
    )

    steps = sum(phase.steps for phase in options.plan)
    with needs("train"), counted("train") as tell:

        def on_line(line: Mapping[str, Any]) -> None:
            typer.echo(line_of_log(line))
            tell(line["step"], steps)

        weights = train_student(options, on_line)
    typer.echo(f"weights: {weights}")


@app.command()
def average(
    weights: Annotated[list[Path], typer.Argument(help="Weights of one training's later steps.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the mean goes.")],
    shares: Annotated[
        str | None, typer.Option(help="How much each counts, such as 1,2; equal by default.")
    ] = None,
) -> None:
    """Average weights files of one training into one."""
    counts = _shares(shares, len(weights))
    with needs("train"):
        from pocketportrait.models.weights import average_students
    average_students(list(zip(weights, counts, strict=True)), out)
    typer.echo(f"weights: {out}")


def _shares(text: str | None, count: int) -> list[float]:
    try:
        shares = [1.0] * count if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != count:
        raise InputError(f"--shares: want {count} numbers such as 1,2, got {text!r}")
    return shares
