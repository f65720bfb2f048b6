"""`pocketportrait bisect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import stages

if TYPE_CHECKING:
    from pocketportrait.validation.bisect_search import Divergence


@app.command()
def bisect(
    bundle: Annotated[Path, typer.Argument(help="A bundle: a folder, or a .zip of one.")],
    variant: Annotated[str, typer.Option(help="The variant to look into, such as coreml/fp16.")],
    graph: Annotated[
        list[str] | None, typer.Option("--graph", "-g", help="Only this graph; may be repeated.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The variant to compare with; onnx/fp32 unless that is looked into."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a one-operation repro a graph here.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON here.")
    ] = None,
) -> None:
    """Name the first operation where a variant computes something else; exit 1 if there is one."""
    # the engines take seconds to import; `--help` must not pay for them
    from pocketportrait.bundle import Bundle
    from pocketportrait.validation.bisect_repro import write_repro
    from pocketportrait.validation.bisect_search import bisect as look

    with Bundle.open(bundle) as opened:
        with stages("bisect") as tell:
            report, evidence = look(
                opened, variant, graphs=tuple(graph or ()), reference=reference, tell=tell
            )
        for divergence in report.divergences:
            _say(divergence)
        for one in evidence if out else ():
            assert out is not None
            typer.echo(f"repro: {write_repro(opened, report, one, out)}")
    if json:
        report.to_json(json)
    if not report.divergences:
        typer.echo(
            f"{report.bundle}: {report.variant} stays in the noise band of {report.reference}"
            f" ({', '.join(report.graphs)}; {report.samples} golden inputs)"
        )
    raise typer.Exit(report.exit_code())


def _say(divergence: Divergence) -> None:
    found, expected = divergence.found, divergence.expected
    apart = "" if divergence.psnr_db is None else f", {divergence.psnr_db:.1f} dB apart"
    typer.echo(f"DIVERGES {divergence.graph} {', '.join(divergence.outputs)} ({divergence.sample})")
    typer.echo(f"  torch module  {divergence.module}")
    typer.echo(f"  {expected.variant:13} {expected.operator} {expected.node}")
    typer.echo(f"  {found.variant:13} {found.operator} {found.node}{apart}")
    if divergence.missing:
        typer.echo(f"  no {expected.operator} was found there: left out, or another took its place")
