"""`pocketportrait sweep`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs

if TYPE_CHECKING:
    from pocketportrait.quantize.front import Front

MOST_SHOWN = 8  # recipes of the front, while the search goes on
HEADINGS = ("trial", "recipe", "dB", "worst dB", "kB", "frame ms", "frame Minstr")


@app.command()
def sweep(
    space: Annotated[Path, typer.Argument(help="What may be chosen: a .toml or .json file.")],
    bundle: Annotated[Path, typer.Option(help="A bundle with fp32 variants.")],
    count: Annotated[
        int, typer.Option("-n", min=0, help="Finished trials that the study shall have.")
    ] = 60,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The study's folder; processes may share it.")
    ] = Path("out/sweep"),
    calibration: Annotated[
        Path | None, typer.Option(help="A folder of clips, or a calibration set's file.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option(help="Clips to compare pictures on; golden vectors by default.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Photos and frames to take from --judge.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the sampler.")] = 0,
    pick: Annotated[
        list[str] | None,
        typer.Option(help="Write the cheapest recipe that keeps this, such as 'psnr_db>=38'."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Where the picked recipe goes; OUT/picked.toml by default.")
    ] = None,
) -> None:
    """Search recipes for quality, bytes and cost at once; a killed search goes on."""
    with needs("quantize"):
        # the tools take seconds to import; `--help` must not pay for them
        import optuna  # noqa: F401  (asked for before any work)

        from pocketportrait.quantize.space import read_space
        from pocketportrait.quantize.sweep import pick as write_pick
        from pocketportrait.quantize.sweep import sweep as search
    with needs("quantize"), _fronts(count) as tell:
        front = search(
            bundle,
            read_space(space),
            out,
            count=count,
            calibration=calibration,
            judge=judge,
            num_pairs=pairs,
            seed=seed,
            on_trial=tell,
        )
    for line in _table(front):
        typer.echo(line)
    typer.echo(f"front: {len(front.front)} of {len(front.trials)} trials, {front.failed} failed")
    typer.echo(f"record: {out}")
    if pick:
        path = recipe or out / "picked.toml"
        typer.echo(f"picked: {write_pick(front, pick, path)}")
        typer.echo(f"recipe: {path}")


def _table(front: Front, most: int | None = None) -> list[str]:
    rows = [HEADINGS]
    for one in front.best()[:most]:
        figures = one.figures
        ms = "-" if figures.frame_ms is None else f"{figures.frame_ms:.2f}"
        counted = figures.frame_instructions
        millions = "-" if counted is None else f"{counted / 1e6:.1f}"
        numbers = f"{figures.psnr_db:.1f}", f"{figures.worst_db:.1f}", f"{figures.bytes / 1e3:.1f}"
        rows.append((str(one.number), one.recipe.name, *numbers, ms, millions))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


@contextlib.contextmanager
def _fronts(count: int) -> Iterator[Callable[[Front, int], None]]:
    """Give a function that shows how far the search is and its front: live, or a line a trial."""
    if not sys.stderr.isatty():

        def line(front: Front, done: int) -> None:
            best = front.best()
            said = f", the best {best[0].figures.psnr_db:.1f} dB" if best else ""
            sys.stderr.write(f"sweep: {done} of {count}, front of {len(best)}{said}\n")
            sys.stderr.flush()

        yield line
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    from rich.text import Text

    bar = Progress("sweep", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    task = bar.add_task("sweep", total=count)
    with Live(bar, console=Console(stderr=True), transient=True) as live:

        def show(front: Front, done: int) -> None:
            bar.update(task, completed=done)
            shown: Any = Text("\n".join(_table(front, MOST_SHOWN)))
            live.update(Group(bar, shown))

        yield show
