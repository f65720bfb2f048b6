"""TFLite files, run by LiteRT (`ai_edge_litert`) or by its predecessor `tflite_runtime`.

Both give the same `Interpreter`; `PACKAGES` is all that differs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.file_runner import FileRunner, Specs
from pocketportrait.runtime.layout import plain_layout

Package = Literal["ai_edge_litert", "tflite_runtime"]
PACKAGES: dict[Package, str] = {
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
}
SIGNATURE = "serving_default"


def why_not(package: Package) -> str | None:
    """Say why a package cannot run files here, or None where it can.

    `tflite_runtime` was built against numpy 1: beside numpy 2 it imports and then kills the process
    in `Interpreter()`, so that it has to be recognised before.
    """
    if importlib.util.find_spec(package) is None:
        return str(MissingToolError.for_extra(PACKAGES[package], "litert"))
    if package == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
        return (
            f"tflite-runtime needs numpy below 2, and numpy is {np.__version__};"
            ' run: pip install "pocketportrait[litert]", or give tflite-runtime an environment of its own'
        )
    return None


class LitertRunner(FileRunner):
    """Run one `.tflite` file through its signature, whose keys are the tensors' names."""

    def __init__(
        self, path: Path, *, threads: int | None = None, package: Package = "ai_edge_litert"
    ) -> None:
        """Remember the file.

        Args:
            path: the `.tflite` file.
            threads: for kernels; None lets the interpreter choose.
            package: who runs it.

        """
        super().__init__(path)
        self._threads, self._package = threads, package
        self._signature: Any = None

    def _load(self) -> tuple[Specs, Specs]:
        if reason := why_not(self._package):
            raise MissingToolError(reason)
        if not self._path.is_file():
            raise InputError(f"{self._path}: want a .tflite file, got nothing there")
        module = importlib.import_module(f"{self._package}.interpreter")
        try:
            interpreter = module.Interpreter(model_path=str(self._path), num_threads=self._threads)
            interpreter.allocate_tensors()
            keys = list(interpreter.get_signature_list())
            if not keys:
                raise InputError(f"{self._path}: want a signature that names the tensors, got none")
            self._signature = interpreter.get_signature_runner(
                SIGNATURE if SIGNATURE in keys else keys[0]
            )
            details = self._signature
            return _specs(details.get_input_details()), _specs(details.get_output_details())
        except InputError:
            raise
        except (ValueError, RuntimeError, LookupError, TypeError) as error:
            raise InputError(
                f"{self._path}: want a TFLite model, got one that does not load: {error}"
            ) from error

    def _free(self) -> None:
        self._signature = None

    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        assert self._signature is not None, "enter the runner first"
        values = self._signature(
            **{name: np.ascontiguousarray(value) for name, value in feed.items()}
        )
        return {name: np.array(value) for name, value in values.items()}


def _specs(details: Mapping[str, Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    specs = []
    for name, detail in details.items():
        shape = tuple(int(size) for size in detail["shape"])
        dtype = np.dtype(detail["dtype"]).name
        specs.append(TensorSpec(name, shape, dtype, plain_layout(shape, "NHWC")))
    return tuple(specs)
