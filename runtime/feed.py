"""What goes into a runner, compared with what its file takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError


def check_feed(file: str, inputs: Sequence[TensorSpec], feed: Mapping[str, Array]) -> None:
    """Compare names, types and shapes; values are not looked at, because this runs for every frame.

    Raises:
        InputError: a tensor is missing, unknown, or of another type or shape than the file takes.

    """
    want, got = {spec.name for spec in inputs}, set(feed)
    if want != got:
        raise InputError(f"{file}: want inputs {sorted(want)}, got {sorted(got)}")
    for spec in inputs:
        value = feed[spec.name]
        if value.dtype != np.dtype(spec.dtype) or value.shape != spec.shape:
            raise InputError(
                f"{file}: {spec.name}: want {spec.dtype} {spec.shape} ({spec.layout}),"
                f" got {value.dtype} {value.shape}; see the manifest for the layout of each file"
            )
