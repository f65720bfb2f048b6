"""One MIL operation about to run: its arguments by name, and what the file declares of its results.

Kernels compute in float32. Rounding to the declared type is done once, by `MilProgram`, for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

Result: TypeAlias = "Tensor | Sequence[Tensor]"
Kernel: TypeAlias = "Callable[[Call], Result]"

# what a value of a MIL type is stored as between two operations
TORCH_TYPES = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp64": torch.float64,
    "bool": torch.bool,
    "int4": torch.int8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint1": torch.uint8,
    "uint2": torch.uint8,
    "uint3": torch.uint8,
    "uint4": torch.uint8,
    "uint6": torch.uint8,
    "uint8": torch.uint8,
    "uint16": torch.int32,
    "uint32": torch.int64,
}
# numpy types that few torch operations take
NARROW = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64}


@dataclass(frozen=True, slots=True)
class Declared:
    """What the file says of one value: its name, its MIL type and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def store(self, value: Tensor) -> Tensor:
        """Return `value` in the declared type; this is where float16 rounding happens."""
        return value.to(TORCH_TYPES[self.dtype])


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments by name; a name that the file leaves out, and that has no default, is None or absent."""

    kind: str
    name: str
    arguments: Mapping[str, Any]
    results: tuple[Declared, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return self.results[0].shape

    def has(self, name: str) -> bool:
        """Say whether an optional argument was given."""
        return self.arguments.get(name) is not None

    def tensor(self, name: str) -> Tensor:
        """Return an argument as a tensor, float16 widened to float32."""
        return as_tensor(self._given(name))

    def optional_tensor(self, name: str) -> Tensor | None:
        """Return `tensor(name)`, or None where the argument was left out."""
        return self.tensor(name) if self.has(name) else None

    def tensors(self, name: str) -> list[Tensor]:
        """Return a list argument, each item as `tensor` does."""
        return [as_tensor(value) for value in self._given(name)]

    def array(self, name: str) -> Array:
        """Return an argument as numpy holds it, in its own type."""
        value = self._given(name)
        return value.numpy() if isinstance(value, Tensor) else np.asarray(value)

    def number(self, name: str) -> float:
        """Return a scalar argument."""
        return float(self.array(name).reshape(()))

    def integer(self, name: str) -> int:
        """Return a scalar argument that counts or names an axis."""
        return int(self.array(name).reshape(()))

    def flag(self, name: str) -> bool:
        """Return a scalar argument that is true or false."""
        return bool(self.array(name).reshape(()))

    def text(self, name: str) -> str:
        """Return a scalar argument that is a word."""
        return str(self._given(name))

    def integers(self, name: str) -> list[int]:
        """Return a vector argument: strides, sizes, axes."""
        return [int(value) for value in self.array(name).reshape(-1)]

    def flags(self, name: str, count: int) -> list[bool]:
        """Return a vector of `count` flags; all false where it was left out."""
        if not self.has(name):
            return [False] * count
        return [bool(value) for value in self.array(name).reshape(-1)]

    def refuse(self, what: str) -> InputError:
        """Return the error for a variant of this operation that no kernel covers."""
        return InputError(
            f"MIL {self.kind} {self.name!r}: {what} is not covered by the oracle;"
            " check this file on macOS with the coreml runner"
        )

    def _given(self, name: str) -> Any:
        value = self.arguments.get(name)
        if value is None:
            raise InputError(
                f"MIL {self.kind} {self.name!r}: argument {name!r} is missing in the file"
            )
        return value


def as_tensor(value: Any) -> Tensor:
    """Return a value of a program as a tensor, float16 widened to float32."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.float16 else value
    array = np.asarray(value)
    if array.dtype in NARROW:
        array = array.astype(NARROW[array.dtype])
    return as_tensor(torch.from_numpy(np.array(array)))


def last_axes_padding(pad: Sequence[int]) -> list[int]:
    """Turn MIL's (before, after) per axis, first axis first, into torch's order: last axis first."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [side for pair in reversed(pairs) for side in pair]
