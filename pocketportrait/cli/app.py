"""The commands' common frame: one app, errors as one line, exit codes.

Nothing heavy may be imported here or in a command module's head: `pocketportrait --help` must not pay
for torch (tests/test_layout.py looks).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Annotated

import typer

from pocketportrait import __version__, limits
from pocketportrait.errors import PortraitError

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
TERMINATED = 143  # 128 + SIGTERM
TOOLS = ("numpy", "onnxruntime", "ai-edge-litert", "torch", "onnx", "litert-torch", "coremltools")


app = typer.Typer(
    name="pocketportrait",
    help="Distil, quantize, export, run and verify portrait-animation models for phones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _frame(
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Change a limit of what is read; may be repeated."),
    ] = None,
) -> None:
    """Distil, quantize, export, run and verify portrait-animation models for phones."""
    limits.change(limit or ())


@app.command()
def version(
    tools: Annotated[
        bool, typer.Option("--tools", help="Also list the converters and engines installed here.")
    ] = False,
) -> None:
    """Print the version."""
    typer.echo(f"pocketportrait {__version__}")
    if tools:
        for name in TOOLS:
            typer.echo(f"{name} {_installed(name)}")


def _installed(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; our own errors become one line on stderr."""
    try:
        with _sigterm_stops():
            app(arguments)
    except PortraitError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return 0


@contextlib.contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Let SIGTERM leave as little behind as Ctrl-C does: `kill` and service managers send it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
