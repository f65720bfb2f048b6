"""`pocketportrait targets list`, `targets install` and `targets time`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages

targets = typer.Typer(
    name="targets", help="Where `verify --targets` runs bundles.", no_args_is_help=True
)
app.add_typer(targets)


@targets.callback()
def _frame() -> None:
    """Where `verify --targets` runs bundles."""


@targets.command("list")
def list_() -> None:
    """Print every target, what it can be asked for, and why it cannot be used where it cannot."""
    # the engines take a while to find; `--help` must not pay for them
    from pocketportrait.runtime.targets.registry import OPEN, list_targets

    for status in list_targets():
        traits = status.traits
        can = ["parity"] if traits.can_parity else []
        can += ["latency"] if traits.can_latency else []
        can += [traits.cost_unit] if traits.cost_unit else []
        kind = "emulated; " if traits.emulated else ""
        what = f"{', '.join(traits.formats)}; {kind}{', '.join(can)}"
        typer.echo(f"{status.name}: {status.reason or 'ready'} ({what})")
    for name in OPEN:
        typer.echo(f"{name}: asked when it is used")


@targets.command()
def install(
    name: Annotated[str, typer.Argument(help="qemu-arm64, tflite-runtime or browser.")],
) -> None:
    """Prepare a target in the user's cache, from this machine's own Debian, PyPI and npm settings."""
    from pocketportrait.runtime.targets.install import install_target

    with stages(f"install {name}") as tell:
        place = install_target(name, tell)
    typer.echo(f"installed: {place}")


@targets.command()
def time(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or a .zip of one.")],
    where: Annotated[list[str], typer.Option("--targets", "-t", help="Such as browser,ssh:HOST.")],
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", "-p", help="Only this precision; may be repeated."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Passes of a graph that count.")] = 30,
    warmup: Annotated[int, typer.Option(min=0, help="Passes before the clock counts.")] = 5,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; the engine chooses by default.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
) -> None:
    """Print what a driving frame takes on targets whose times mean something; `bench` compares here."""
    from pocketportrait.bundle import Bundle
    from pocketportrait.runtime.targets.registry import targets_named
    from pocketportrait.validation.target_latency import time_targets, write_times

    chosen = targets_named(where)
    with Bundle.open(bundle) as opened, stages("time") as tell:
        times = time_targets(
            opened,
            chosen,
            precisions=precision,
            repeats=repeats,
            warmup=warmup,
            threads=threads,
            tell=tell,
        )
    for row in times.rows:
        if row.skipped:
            typer.echo(f"SKIP {row.variant} on {row.target}: {row.skipped}")
            continue
        warm = {graph: found.warm for graph, found in row.graphs.items()}
        parts = ", ".join(f"{g} {w.p50_ms:.1f} (p95 {w.p95_ms:.1f})" for g, w in warm.items())
        ran = row.graphs["render"].residency
        typer.echo(
            f"{row.variant} on {row.target}: {row.frame_ms:.1f} ms a frame; {parts}"
            f"{f'; {ran}' if ran else ''}"
        )
    if json:
        write_times(times, json)
