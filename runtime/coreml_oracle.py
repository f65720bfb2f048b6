"""The Core ML oracle: a runner that executes a saved `.mlpackage` on any system, for checks, not speed.

A tool of the development machine: it needs torch and coremltools, and is imported only on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.runtime.coreml_package import colour_orders, package_specs
from pocketportrait.runtime.feed import check_feed
from pocketportrait.runtime.mil.program import MilProgram


class CoremlOracle:
    """Execute one package; every operation's result is rounded to the type that the file declares."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Remember the package; entering loads it.

        Args:
            path: the `.mlpackage` folder.
            threads: torch threads during a pass; None leaves torch as it is.

        """
        self._path, self._threads = path, threads
        self._program: MilProgram | None = None
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
        """Load the program.

        Raises:
            InputError: the package is broken or holds operations that the oracle does not know.
            MissingToolError: coremltools is not installed.

        """
        self._program = MilProgram(self._path)
        self._inputs, self._outputs = package_specs(self._program.spec)
        self._orders = colour_orders(self._program.spec)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the program."""
        self._program = None

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass in the file's own layout and types; returns copies.

        Raises:
            InputError: a tensor is missing or unlike the file's.

        """
        assert self._program is not None, "enter the oracle first"
        check_feed(self._path.name, self._inputs, feed)
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
