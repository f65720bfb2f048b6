"""Every value on the way through a package, as numpy arrays: what a bisection looks at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from pocketportrait.contract import Array
from pocketportrait.runtime.mil.program import MilProgram


def open_values(
    path: Path, names: Collection[str]
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Load a package; the result runs one pass and gives the named results, float32, and the outputs.

    Raises:
        InputError: the package is broken or holds operations that the evaluator does not know.
        MissingToolError: coremltools is not installed.

    """
    program = MilProgram(path)

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        given = {name: torch.from_numpy(np.array(value)) for name, value in feed.items()}
        results = program.run(given, keep=names)
        return {name: np.array(tensor.float().numpy()) for name, tensor in results.items()}

    return run
