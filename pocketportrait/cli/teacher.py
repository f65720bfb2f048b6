"""`pocketportrait teacher check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.errors import ExitCode

teacher = typer.Typer(
    name="teacher", help="Large models that the student learns from.", no_args_is_help=True
)
app.add_typer(teacher)


@teacher.callback()
def _frame() -> None:
    """Large models that the student learns from."""


@teacher.command()
def check(
    kind: Annotated[
        str, typer.Argument(help="liveportrait, xnemo, personalive, native or recorded.")
    ],
    weights: Annotated[
        Path, typer.Option(help="The folder with its checkpoints, or with triples.json.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the rendered picture goes.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run: cpu, cuda, mps.")] = "cpu",
) -> None:
    """Load strictly, replay golden outputs, render a frame, and say what one costs; exit 1 if wrong."""
    with needs("teachers"):
        # torch takes seconds to import; `--help` must not pay for it
        from pocketportrait.models.teachers.check import check_teacher

        passed = check_teacher(kind, weights, typer.echo, device=device, picture=out)
    if not passed:
        raise typer.Exit(ExitCode.GATE_FAILED)
