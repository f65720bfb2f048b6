"""`pocketportrait distill`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted, line_of_log
from pocketportrait.cli.training import (
    Average,
    Cache,
    Licence,
    Minutes,
    Monitor,
    MonitorLabels,
    Out,
    Plan,
    Preset,
    Seed,
    Start,
    Threads,
)

Kind = Annotated[str, typer.Option(help="liveportrait, xnemo, personalive, native or recorded.")]
Weights = Annotated[
    Path | None, typer.Option(help="The folder with its checkpoints, or with triples.json.")
]
Data = Annotated[
    Path | None, typer.Option(help="Labelled clips of several people; `recorded` looks at none.")
]
Labels = Annotated[Path | None, typer.Option(help="Those of DATA; DATA/labels by default.")]
Transfer = Annotated[
    str | None, typer.Option(help="How it moves the photo: relative or absolute; by kind.")
]
Device = Annotated[str, typer.Option(help="Where the teacher runs: cpu, cuda, mps.")]
Pairs = Annotated[int, typer.Option(min=1, help="Pairs of a photo and a driver.")]
Frames = Annotated[int, typer.Option(min=8, help="The most driving frames of a pair.")]
Shard = Annotated[str, typer.Option(help="k/n: render this part of the pairs and stop.")]
Store = Annotated[Path | None, typer.Option(help="Rendered pairs; OUT/pairs by default.")]
StoreLabels = Annotated[Path | None, typer.Option(help="STORE/labels by default.")]
Identity = Annotated[
    Path | None, typer.Option(help="Face-recognition network, .onnx or TorchScript.")
]
Perceptual = Annotated[
    str, typer.Option(help="efficientnet-lite0, or a TorchScript file that gives maps.")
]
OwnPairs = Annotated[
    float,
    typer.Option(min=0, max=0.95, help="Share of a batch that are pairs of DATA's own clips."),
]
Weight = Annotated[
    list[str] | None, typer.Option(help="TERM=NUMBER: how much a term counts; may be repeated.")
]
PoseGradient = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of pictures' gradients that reaches the pose slice."),
]
FrozenNorm = Annotated[
    bool, typer.Option("--frozen-norm", help="Batch norms keep their statistics.")
]
Precision = Annotated[str, typer.Option(help="bf16 or no.")]


@app.command()
def distill(
    teacher: Kind,
    teacher_weights: Weights = None,
    data: Data = None,
    out: Out = Path("out/distill"),
    labels: Labels = None,
    transfer: Transfer = None,
    device: Device = "cpu",
    pairs: Pairs = 200,
    frames: Frames = 32,
    shard: Shard = "",
    store: Store = None,
    store_labels: StoreLabels = None,
    identity: Identity = None,
    perceptual: Perceptual = "",
    own_pairs: OwnPairs = 0.0,
    weight: Weight = None,
    pose_gradient: PoseGradient = 0.0,
    frozen_norm: FrozenNorm = False,
    precision: Precision = "bf16",
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
    """Train a student from a teacher's pictures; what is rendered is kept, a stopped run goes on."""
    told = dict(locals())  # the parameters are named as the options
    with needs("teachers"):
        # torch takes seconds to import; `--help` must not pay for it
        from pocketportrait.distill.teacher_plan import (
            distillation_options,
            distillation_plan,
            read_distillation_plan,
        )
        from pocketportrait.distill.teacher_training import distill as distill_teacher
    phases = read_distillation_plan(plan) if plan else distillation_plan()
    told |= {"plan": phases, "minutes": math.inf if minutes is None else minutes}
    told["weights"] = told.pop("weight") or ()
    options = distillation_options(**told)
    steps = sum(phase.steps for phase in phases)
    with needs("teachers"), counted("pairs") as tell_pair, counted("distill") as tell:

        def on_line(line: Mapping[str, Any]) -> None:
            typer.echo(line_of_log(line))
            tell(line["step"], steps)

        made = distill_teacher(options, on_line, lambda done, all_, new: tell_pair(done, all_))
    typer.echo(f"{'pairs' if shard else 'weights'}: {made}")
