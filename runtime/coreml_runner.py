"""Core ML packages, run by macOS itself. Other systems have the oracle."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.coreml_package import import_coremltools, open_package, package_specs
from pocketportrait.runtime.feed import check_feed

Units = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]


def why_not() -> str | None:
    """Say why Core ML cannot run here, or None where it can."""
    if sys.platform != "darwin":
        return f"Core ML runs on macOS alone, and this is {sys.platform}; the runner `oracle` checks it here"
    if importlib.util.find_spec("coremltools") is None:
        return str(MissingToolError.for_extra("coremltools", "export"))
    return None


class CoremlRunner:
    """Run one `.mlpackage` with `MLModel.predict`."""

    def __init__(self, path: Path, *, threads: int | None = None, units: Units = "ALL") -> None:
        """Remember the package.

        Args:
            path: the `.mlpackage` folder.
            threads: not a choice that Core ML offers; None or ignored.
            units: where Core ML may place operations.

        """
        self._path, self._units = path, units
        self._model: Any = None
        self._inputs: tuple[TensorSpec, ...] = ()
        self._outputs: tuple[TensorSpec, ...] = ()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the file takes; pictures are uint8 NHWC in RGB."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the file gives."""
        return self._outputs

    def __enter__(self) -> Self:
        """Compile and load the package.

        Raises:
            InputError: the package is missing, broken, or does not compile.
            MissingToolError: this is not macOS, or coremltools is not installed.

        """
        if reason := why_not():
            raise MissingToolError(reason)
        self._inputs, self._outputs = package_specs(open_package(self._path).get_spec())
        coremltools = import_coremltools()
        try:
            self._model = coremltools.models.MLModel(
                str(self._path), compute_units=coremltools.ComputeUnit[self._units]
            )
        except Exception as error:  # NSError arrives as RuntimeError or Exception
            raise InputError(f"{self._path}: Core ML does not compile it: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the model."""
        self._model = None

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass in the file's own layout and types; returns copies.

        Raises:
            InputError: a tensor is missing or unlike the file's.

        """
        assert self._model is not None, "enter the runner first"
        check_feed(self._path.name, self._inputs, feed)
        values = self._model.predict(
            {spec.name: _to_coreml(spec, feed[spec.name]) for spec in self._inputs}
        )
        return {spec.name: _from_coreml(spec, values[spec.name]) for spec in self._outputs}


def _to_coreml(spec: TensorSpec, value: Array) -> Any:
    if spec.dtype != "uint8":
        return value
    from PIL import Image  # pictures go in and come out as PIL's

    return Image.fromarray(np.ascontiguousarray(value[0]))


def _from_coreml(spec: TensorSpec, value: Any) -> Array:
    if spec.dtype != "uint8":
        return np.array(value, dtype=spec.dtype).reshape(spec.shape)
    return np.array(value.convert("RGB"))[None]
