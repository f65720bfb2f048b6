"""`pocketportrait quantize` and `pocketportrait compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import stages
from pocketportrait.errors import ExitCode

if TYPE_CHECKING:
    from pocketportrait.quantize.laboratory import Quantized


@app.command()
def quantize(
    bundle: Annotated[Path, typer.Argument(help="A bundle with fp32 variants.")],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", "-r", help="A shipped one (fp16, w8, w8a8, mixed, w4, palette6), or a file."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The bundle with one more variant; may be BUNDLE.")
    ],
    calibration: Annotated[
        Path | None,
        typer.Option(help="A folder of clips to choose frames from, or a calibration set's file."),
    ] = None,
    write_set: Annotated[
        Path | None,
        typer.Option(help="Write the calibration set here, for the next --calibration."),
    ] = None,
    scored: Annotated[
        Path | None,
        typer.Option(help="A listing of clips with their split; looked for near the clips."),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(help="Learnt ranges, in place of measured ones where it has them."),
    ] = None,
    format: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Only this format; may be repeated.")
    ] = None,
) -> None:
    """Add a quantized variant to a bundle; exit 1 if a file is not what the recipe says."""
    with needs("quantize"):
        # the tools take seconds to import; `--help` must not pay for them
        from pocketportrait.quantize.calibrated import set_of
        from pocketportrait.quantize.laboratory import quantize_bundle
        from pocketportrait.quantize.ranges import read_ranges
        from pocketportrait.quantize.recipe import read_recipe
    wanted = read_recipe(recipe)
    typer.echo(str(wanted))
    with needs("quantize"), stages("quantize") as tell:
        result = quantize_bundle(
            bundle,
            wanted,
            out,
            formats=format,
            calibration=set_of(wanted, recipe, calibration),
            listing=scored,
            written_set=write_set,
            learnt=read_ranges(ranges) if ranges else None,
            progress=tell,
        )
    result.bundle.close()
    _print(result, wanted.name)
    typer.echo(f"bundle: {out}")
    raise typer.Exit(ExitCode.GATE_FAILED if result.differences else ExitCode.DONE)


def _print(result: Quantized, name: str) -> None:
    for format, graphs in result.facts.items():
        for facts in graphs:
            typer.echo(
                f"{format}/{name} {facts.graph}: {facts.integer_share():.0%} of the layers' MACs"
                f" in integers, float: {', '.join(facts.float_layers) or 'no layer'}"
            )
    for line in result.differences:
        typer.echo(f"DIFFERS  {line}")


@app.command()
def compare(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles: folders or .zip files.")],
    format: Annotated[
        list[str] | None, typer.Option("--format", "-f", help="Only this format; may be repeated.")
    ] = None,
) -> None:
    """Show the variants of bundles side by side: quality, bytes, milliseconds, parity."""
    # the engines take seconds to import; `--help` must not pay for them
    from pocketportrait.quantize.comparison import HEADINGS
    from pocketportrait.quantize.comparison import compare as compare_bundles

    with stages("compare"):
        rows = [HEADINGS, *(one.cells() for one in compare_bundles(bundles, formats=format))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
