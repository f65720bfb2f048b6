"""The command line: every command parses, calls one library function and prints one line a fact."""

from pocketportrait.cli import export, training, verify
from pocketportrait.cli.app import app, main

__all__ = ["app", "export", "main", "training", "verify"]
