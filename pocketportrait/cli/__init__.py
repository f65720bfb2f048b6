"""The command line: every command parses, calls one library function and prints one line a fact."""

from pocketportrait.cli import (
    animate,
    bench,
    demo,
    distill,
    evaluate,
    export,
    gates,
    preflight,
    prepare,
    quantize,
    report,
    sensitivity,
    sweep,
    targets,
    teacher,
    training,
    verify,
)
from pocketportrait.cli.app import app, main

__all__ = [
    "animate",
    "app",
    "bench",
    "demo",
    "distill",
    "evaluate",
    "export",
    "gates",
    "main",
    "preflight",
    "prepare",
    "quantize",
    "report",
    "sensitivity",
    "sweep",
    "targets",
    "teacher",
    "training",
    "verify",
]
