"""Any exported file as a neutral graph."""

from __future__ import annotations

from pathlib import Path

from pocketportrait.bundle.intake import check_model
from pocketportrait.errors import InputError
from pocketportrait.validation.preflight.coreml_reader import read_coreml
from pocketportrait.validation.preflight.graph import Graph
from pocketportrait.validation.preflight.onnx_reader import read_onnx
from pocketportrait.validation.preflight.tflite_reader import read_tflite

READERS = {".onnx": read_onnx, ".tflite": read_tflite, ".mlpackage": read_coreml}


def read_graph(path: Path) -> Graph:
    """Read a file or package by its suffix.

    Raises:
        InputError: another suffix, nothing there, not what the suffix says, or refused by `check_model`.
        MissingToolError: the extra that reads this format is not installed.

    """
    if path.suffix not in READERS:
        raise InputError(
            f"{path}: want a bundle or a file that ends in {', '.join(READERS)}, got {path.suffix!r}"
        )
    return READERS[path.suffix](check_model(path))
