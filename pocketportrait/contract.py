"""What crosses a border: named tensors with shape, dtype, layout and range, and the graphs they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pocketportrait.errors import InputError

Array = npt.NDArray[Any]
Layout = Literal["NCHW", "NHWC", "NC"]
GRAPHS = ("appearance", "motion", "render")
POSE = (
    "yaw",
    "pitch",
    "roll",
    "tx",
    "ty",
    "log_scale",
)  # first slice of a code; radians, sides, log


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor; `low` and `high` are inclusive and in the tensor's own unit."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: Layout = "NCHW"
    low: float = float("-inf")
    high: float = float("inf")

    def check(self, value: Array) -> None:
        """Compare a value with this spec.

        Raises:
            InputError: dtype, shape or range differ, or a value is not finite.

        """
        if value.dtype != np.dtype(self.dtype):
            raise InputError(
                f"{self.name}: want {self.dtype}, got {value.dtype}; cast it with astype"
            )
        if value.shape != self.shape:
            raise InputError(
                f"{self.name}: want shape {self.shape} ({self.layout}), got {value.shape};"
                " resize or transpose it"
            )
        if not np.isfinite(value).all():
            raise InputError(
                f"{self.name}: want finite values, got NaN or infinity; check its source"
            )
        low, high = float(value.min()), float(value.max())
        if low < self.low or high > self.high:
            hint = "; pixels are 0..1, not 0..255" if self.high == 1.0 and high > 1.0 else ""
            raise InputError(
                f"{self.name}: want values in [{self.low}, {self.high}], got [{low:g}, {high:g}]{hint}"
            )

    @property
    def is_image(self) -> bool:
        """Say whether this tensor is an RGB picture with values 0..1."""
        return (self.low, self.high) == (0.0, 1.0)

    def nhwc(self) -> TensorSpec:
        """Return the same tensor channel-last; vectors stay as they are."""
        if self.layout != "NCHW":
            return self
        n, c, h, w = self.shape
        return TensorSpec(self.name, (n, h, w, c), self.dtype, "NHWC", self.low, self.high)


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One exported graph: its name and what it takes and gives."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_feed(self, feed: Mapping[str, Array]) -> None:
        """Compare a feed with the inputs.

        Raises:
            InputError: a tensor is missing, unknown or unlike its spec.

        """
        want, got = {t.name for t in self.inputs}, set(feed)
        if want != got:
            raise InputError(f"{self.name}: want inputs {sorted(want)}, got {sorted(got)}")
        for spec in self.inputs:
            spec.check(feed[spec.name])


def image_spec(name: str, side: int) -> TensorSpec:
    """Return the spec of one RGB picture, 0..1, NCHW."""
    return TensorSpec(name, (1, 3, side, side), low=0.0, high=1.0)
