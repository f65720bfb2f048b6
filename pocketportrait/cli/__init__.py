"""The command line: every command parses, calls one library function and prints one line a fact."""

from pocketportrait.cli import (
    animate,
    demo,
    distill,
    evaluate,
    export,
    preflight,
    prepare,
    quantize,
    targets,
    teacher,
    training,
    verify,
)
from pocketportrait.cli.app import app, main

__all__ = [
    "animate",
    "app",
    "demo",
    "distill",
    "evaluate",
    "export",
    "main",
    "preflight",
    "prepare",
    "quantize",
    "targets",
    "teacher",
    "training",
    "verify",
]
