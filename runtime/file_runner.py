"""What all runners of a model file share: loaded when entered, freed when left, fed what the file takes."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.runtime.feed import check_feed

Specs = tuple[TensorSpec, ...]


class FileRunner(abc.ABC):
    """Run one model file; an engine says how to load, free and run it."""

    def __init__(self, path: Path) -> None:
        """Remember the file; entering loads it."""
        self._path = path
        self._inputs: Specs = ()
        self._outputs: Specs = ()

    @property
    def inputs(self) -> Specs:
        """What the file takes; known once it was entered."""
        return self._inputs

    @property
    def outputs(self) -> Specs:
        """What the file gives; known once it was entered."""
        return self._outputs

    def __enter__(self) -> Self:
        """Load the file.

        Raises:
            InputError: it is missing, broken, or holds what the engine cannot run.
            MissingToolError: the engine is not installed, or not for this system.

        """
        self._inputs, self._outputs = self._load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the model."""
        self._free()

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass in the file's own layout and types; returns copies.

        Raises:
            InputError: a tensor is missing or unlike the file's.

        """
        check_feed(self._path.name, self._inputs, feed)
        return self._run(feed)

    @abc.abstractmethod
    def _load(self) -> tuple[Specs, Specs]:
        """Load the file; return what it takes and gives."""

    @abc.abstractmethod
    def _free(self) -> None:
        """Forget the model."""

    @abc.abstractmethod
    def _run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass on tensors that are known to fit."""
