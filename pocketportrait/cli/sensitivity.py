"""`pocketportrait sensitivity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.evaluate import Models, Python
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted
from pocketportrait.errors import InputError

if TYPE_CHECKING:
    from pocketportrait.quantize.sensitivity import Sensitivity

HEADINGS = ("graph", "layers", "scheme", "MMAC", "dB", "dB lost")


@app.command()
def sensitivity(
    bundle: Annotated[Path, typer.Argument(help="A bundle with fp32 variants.")],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="What each layer becomes: a name or a file.")
    ] = "w8a8",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where record and chart go.")] = Path(
        "out/sensitivity"
    ),
    calibration: Annotated[
        Path | None, typer.Option(help="A folder of clips, or a calibration set's file.")
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", help="onnx, tflite or coreml.")] = "onnx",
    graph: Annotated[
        list[str] | None, typer.Option("--graph", help="Only this graph; may be repeated.")
    ] = None,
    by: Annotated[str, typer.Option(help="layer, or block.")] = "layer",
    judge: Annotated[
        Path | None, typer.Option(help="Clips to compare pictures on; golden vectors by default.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Photos and frames to take from --judge.")] = 16,
    data: Annotated[
        Path | None,
        typer.Option(help="Held-out clips: also say what portrait figures lose; takes long."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Only so many frames of each held-out clip.")
    ] = None,
    score_models: Models = None,
    score_python: Python = None,
) -> None:
    """Quantize one layer at a time and say what the animated picture loses by it."""
    if by not in ("layer", "block"):
        raise InputError(f"--by: want layer or block, got {by!r}")
    with needs("quantize"):
        # the tools take seconds to import; `--help` must not pay for them
        from pocketportrait.contract import GRAPHS
        from pocketportrait.quantize.calibrated import set_of
        from pocketportrait.quantize.judging import Portrait
        from pocketportrait.quantize.recipe import read_recipe
        from pocketportrait.quantize.sensitivity import measure_sensitivity
    wanted = read_recipe(recipe)
    portrait = Portrait(data, score_models, score_python, frames) if data else None
    with needs("quantize"), counted("sensitivity") as tell:
        found = measure_sensitivity(
            bundle,
            wanted,
            out,
            format=format,
            graphs=graph or GRAPHS,
            unit=cast(Literal["layer", "block"], by),
            calibration=set_of(wanted, recipe, calibration),
            judge=judge,
            num_pairs=pairs,
            portrait=portrait,
            progress=tell,
        )
    _print(found)
    typer.echo(f"record: {out}")


def _print(found: Sensitivity) -> None:
    names = sorted({name for row in found.rows for name in row.figures.portrait_lost})
    rows = [(*HEADINGS, *(f"{name} lost" for name in names))]
    for row in found.rows:
        figures = row.figures
        lost = (f"{figures.portrait_lost[name]:+.4f}" for name in names)
        cells = f"{row.macs / 1e6:.2f}", f"{figures.psnr_db:.1f}", f"{figures.lost_db:.2f}"
        rows.append((row.graph, row.name, "+".join(row.schemes), *cells, *lost))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for line in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
