"""`pocketportrait targets list` and `targets install`."""

from __future__ import annotations

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
    names: Annotated[
        list[str], typer.Argument(help="Some of qemu-arm64, tflite-runtime and browser, or all.")
    ],
    missing: Annotated[
        bool, typer.Option("--missing", help="Leave what is installed in today's versions.")
    ] = False,
) -> None:
    """Prepare targets in the user's cache, from this machine's own Debian, PyPI and npm settings."""
    from pocketportrait.runtime.targets.install import INSTALLABLE, install_target, is_installed
    from pocketportrait.runtime.targets.registry import ALL

    for name in INSTALLABLE if names == [ALL] else names:
        if missing and is_installed(name):
            typer.echo(f"{name}: is installed")
            continue
        with stages(f"install {name}") as tell:
            place = install_target(name, tell)
        typer.echo(f"installed: {place}")
