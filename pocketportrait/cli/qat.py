"""`pocketportrait qat`."""

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
    Data,
    Labels,
    Licence,
    Minutes,
    Monitor,
    MonitorLabels,
    Plan,
    Preset,
    Seed,
    Threads,
)

BundlePath = Annotated[Path, typer.Argument(help="Exported from the weights to begin with.")]
Start = Annotated[
    Path | None, typer.Option(help="Weights to begin with; the shipped ones by default.")
]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="What is rounded: a name, .toml or .json file.")
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Where checkpoint, weights, ranges and log go.")
]
OwnPicture = Annotated[
    float, typer.Option(min=0, help="How much the float student's pictures count.")
]
OwnCode = Annotated[float, typer.Option(min=0, help="How much the float student's codes count.")]
ClipsCount = Annotated[
    float,
    typer.Option(min=0, help="How much the clips count; at 0 their loss is not even computed."),
]


@app.command()
def qat(
    bundle: BundlePath,
    data: Data,
    start: Start = None,
    recipe: RecipeName = "w8a8",
    out: Out = Path("out/qat"),
    own_picture: OwnPicture = 0.1,
    own_code: OwnCode = 1.0,
    clips: ClipsCount = 0.0,
    labels: Labels = None,
    cache: Cache = None,
    preset: Preset = "phone",
    plan: Plan = None,
    seed: Seed = 0,
    minutes: Minutes = None,
    monitor: Monitor = None,
    monitor_labels: MonitorLabels = None,
    threads: Threads = None,
    average: Average = 0.99,
    licence: Licence = "",
) -> None:
    """Fine-tune a student with rounded numbers; weights and learnt ranges come out."""
    told = dict(locals())  # the parameters are named as the options
    with needs("quantize"):
        # torch takes seconds to import; `--help` must not pay for it
        from pocketportrait.distill.plan import read_plan
        from pocketportrait.models.weights import shipped_weights
        from pocketportrait.quantize.qat import RANGES, QatOptions, fine_tune, qat_plan
        from pocketportrait.quantize.recipe import read_recipe
    phases = read_plan(plan) if plan else qat_plan()
    told |= {"plan": phases, "minutes": math.inf if minutes is None else minutes}
    told |= {"start": start or shipped_weights(), "recipe": read_recipe(recipe)}
    typer.echo(str(told["recipe"]))
    steps = sum(phase.steps for phase in phases)
    with needs("quantize"), counted("qat") as tell:

        def on_line(line: Mapping[str, Any]) -> None:
            typer.echo(line_of_log(line))
            tell(line["step"], steps)

        weights = fine_tune(QatOptions(**told), on_line)
    typer.echo(f"weights: {weights}")
    typer.echo(f"ranges: {out / RANGES}")
