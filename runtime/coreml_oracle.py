"""The Core ML oracle: a runner that executes a saved `.mlpackage` on any system, for checks, not speed.

A tool of the development machine: it needs torch and coremltools, and is imported only on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.runtime.coreml_package import colour_orders, package_specs
from pocketportrait.runtime.file_runner import FileRunner, Specs
from pocketportrait.runtime.mil.program import MilProgram


class CoremlOracle(FileRunner):
    """Execute one package; every operation's result is rounded to the type that the file declares."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Remember the package; entering loads it.

        Args:
            path: the `.mlpackage` folder.
            threads: torch threads during a pass; None leaves torch as it is.

        """
        super().__init__(path)
        self._threads = threads
        self._program: MilProgram | None = None

    def _load(self) -> tuple[Specs, Specs]:
        self._program = MilProgram(self._path)
        self._orders = colour_orders(self._program.spec)
        return package_specs(self._program.spec)

    def _free(self) -> None:
        self._program = None

    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        assert self._program is not None, "enter the oracle first"
        values = {spec.name: self._to_program(spec, feed[spec.name]) for spec in self._inputs}
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            results = self._program.run(values)
        finally:
            torch.set_num_threads(before)
        return {spec.name: self._from_program(spec, results[spec.name]) for spec in self._outputs}

    def _to_program(self, spec: TensorSpec, value: Array) -> Tensor:
        tensor = torch.from_numpy(np.array(value))
        order = self._orders.get(spec.name)
        if order is None:
            return tensor
        picture = tensor.permute(
            0, 3, 1, 2
        ).float()  # Core ML hands pictures over as 0..255, planar
        return picture.flip(1) if order == "BGR" else picture

    def _from_program(self, spec: TensorSpec, tensor: Tensor) -> Array:
        order = self._orders.get(spec.name)
        if order is None:
            return np.array(tensor.numpy()).astype(spec.dtype, copy=False)
        picture = tensor.float().flip(1) if order == "BGR" else tensor.float()
        return np.array(picture.round().clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).numpy())
