"""`pocketportrait inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A picture or a video.")],
    mark_key: Annotated[
        Path | None, typer.Option(help="The private key file that was given at export.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write it as JSON here.")] = None,
) -> None:
    """Say whether Pocket Portrait made a file; exit 1 if nothing says so or credentials are broken."""
    # numpy and video libraries take a while to import; `--help` must not pay for them
    from pocketportrait.mark import PUBLIC_KEY
    from pocketportrait.mark.key import read_key
    from pocketportrait.validation.inspection import inspect_file

    report = inspect_file(file, read_key(mark_key) if mark_key else PUBLIC_KEY)
    for line in report.lines():
        typer.echo(line)
    if json:
        report.to_json(json)
    raise typer.Exit(report.exit_code)
