"""Core ML packages, run by macOS itself. Other systems have the oracle."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.coreml_package import import_coremltools, open_package, package_specs
from pocketportrait.runtime.coreml_plan import operators_by_unit
from pocketportrait.runtime.file_runner import FileRunner, Specs

Units = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]


def why_not() -> str | None:
    """Say why Core ML cannot run here, or None where it can."""
    if sys.platform != "darwin":
        return f"Core ML runs on macOS alone, and this is {sys.platform}; the runner `oracle` checks it here"
    if importlib.util.find_spec("coremltools") is None:
        return str(MissingToolError.for_extra("coremltools", "export"))
    return None


class CoremlRunner(FileRunner):
    """Run one `.mlpackage` with `MLModel.predict`."""

    def __init__(self, path: Path, *, threads: int | None = None, units: Units = "ALL") -> None:
        """Remember the package.

        Args:
            path: the `.mlpackage` folder.
            threads: not a choice that Core ML offers; None or ignored.
            units: where Core ML may place operations.

        """
        super().__init__(path)
        self._units = units
        self._model: Any = None

    def _load(self) -> tuple[Specs, Specs]:
        if reason := why_not():
            raise MissingToolError(reason)
        specs = package_specs(open_package(self._path).get_spec())
        coremltools = import_coremltools()
        try:
            self._model = coremltools.models.MLModel(
                str(self._path), compute_units=coremltools.ComputeUnit[self._units]
            )
        except Exception as error:  # NSError arrives as RuntimeError or Exception
            raise InputError(f"{self._path}: Core ML does not compile it: {error}") from error
        return specs

    def operators_by_unit(self) -> dict[str, int]:
        """Return how many operations Core ML plans to run on each unit, by its own compute plan.

        Raises:
            InputError: this macOS has no plan for the file (plans came with 14.4).

        """
        assert self._model is not None, "enter the runner first"
        plans = importlib.import_module("coremltools.models.compute_plan")
        try:
            plan = plans.MLComputePlan.load_from_path(
                self._model.get_compiled_model_path(), self._model.compute_unit
            )
        except Exception as error:  # NSError arrives as RuntimeError or Exception
            raise InputError(f"{self._path}: Core ML gives no compute plan: {error}") from error
        return operators_by_unit(plan)

    def _free(self) -> None:
        self._model = None

    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        assert self._model is not None, "enter the runner first"
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
