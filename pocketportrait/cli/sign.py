"""`pocketportrait sign` and `make-key`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app


@app.command("make-key")
def make_key(
    path: Annotated[
        Path, typer.Argument(help="The private key to write; PATH.pub goes beside it.")
    ],
) -> None:
    """Make a key pair to sign bundles with."""
    from pocketportrait.bundle.signature import make_key as make

    typer.echo(f"public key: {make(path)}")


@app.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or a .zip of one.")],
    key: Annotated[Path, typer.Option(help="A private key that make-key wrote.")],
) -> None:
    """Sign a bundle; `verify --trust KEY.pub` then tells whether it is still the one that was signed."""
    from pocketportrait.bundle.signature import SIGNATURE
    from pocketportrait.bundle.signature import sign as sign_bundle

    sign_bundle(bundle, key)
    typer.echo(f"signed: {bundle} ({SIGNATURE})")
