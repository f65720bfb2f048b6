"""`pocketportrait web`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pocketportrait.cli.app import app


@app.command()
def web(
    bundle: Annotated[
        Path | None, typer.Argument(help="A folder or .zip; the shipped bundle by default.")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", "-f", help="onnx or tflite.")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", "-p", help="fp32 by default, where there is one.")
    ] = None,
    webgpu: Annotated[
        bool, typer.Option("--webgpu", help="Compute on the browser's GPU, not in WebAssembly.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of WebAssembly; the page chooses by default.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="A free one by default.")] = 0,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in this machine's browser.")
    ] = True,
) -> None:
    """Serve a page to this machine alone: photo, camera or clip, and the result live; Ctrl-C ends it."""
    import webbrowser

    from pocketportrait.bundle import Bundle
    from pocketportrait.runtime.animation import default_bundle
    from pocketportrait.runtime.web.portrait_page import portrait_page

    with (
        Bundle.open(bundle or default_bundle()) as opened,
        portrait_page(
            opened,
            format=format,
            precision=precision,
            backend="webgpu" if webgpu else "wasm",
            threads=threads,
            port=port,
        ) as server,
    ):
        typer.echo(f"serving {server.origin} to this machine alone; Ctrl-C ends it")
        if browser:
            webbrowser.open(server.origin)
        server.wait()
