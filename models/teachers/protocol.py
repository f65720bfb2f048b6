"""What distillation knows of a teacher: pictures in, pictures out, and codes where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

SIDE_PX = 256  # every photo and frame that crosses this border is [256, 256, 3], uint8, RGB


@runtime_checkable
class Teacher(Protocol):
    """A system that makes one photo perform a driver."""

    @property
    def summary(self) -> str:
        """One line: what was loaded."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of what decides the pictures (weights, options, recordings): a key for caches."""
        ...

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield one picture a driving frame, as the frames come.

        Args:
            photo: uint8 [256, 256, 3] RGB, framed as in training.
            frames: uint8 [256, 256, 3] RGB, in the order of time; the first is the neutral one
                where motion is relative.

        Yields:
            uint8 [256, 256, 3] RGB.

        Raises:
            InputError: a picture of another size or type.

        """
        ...


@runtime_checkable
class EncodingTeacher(Teacher, Protocol):
    """A teacher with a motion code that the student's code can be trained to predict."""

    def encode(self, frames: Iterable[Array]) -> Array:
        """Return the codes of frames (uint8 [256, 256, 3]) as float32 [number of frames, K]."""
        ...


def check_picture(picture: Array, name: str) -> Array:
    """Return `picture` if it may cross the protocol.

    Raises:
        InputError: not uint8 [256, 256, 3].

    """
    if picture.dtype != np.uint8 or picture.shape != (SIDE_PX, SIDE_PX, 3):
        raise InputError(
            f"{name}: want uint8 [{SIDE_PX}, {SIDE_PX}, 3], got {picture.dtype}"
            f" {list(picture.shape)}; crop and resize it before it goes to a teacher"
        )
    return picture


def check_pictures(frames: Iterable[Array]) -> list[Array]:
    """Return all `frames` if they may cross the protocol.

    Raises:
        InputError: one is not uint8 [256, 256, 3].

    """
    return [check_picture(one, f"frame {index}") for index, one in enumerate(frames)]
