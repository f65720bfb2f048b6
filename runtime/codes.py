"""Arithmetic on codes: how a driver's motion is carried over to another face. Outside the graphs."""

from __future__ import annotations

from typing import Literal

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

Motion = Literal["relative", "absolute"]
MOTIONS: tuple[Motion, ...] = ("relative", "absolute")


class MotionTransfer:
    """Turns driving codes into the codes that the renderer is given.

    Absolute: the face takes the driver's pose and expression as they are. Relative: it takes their
    change since the neutral code, on top of its own, so that an unlike frame at the start does not
    make the photo jump.
    """

    def __init__(self, motion: Motion) -> None:
        """Start without a source and without a neutral code.

        Raises:
            InputError: there is no such motion.

        """
        if motion not in MOTIONS:
            raise InputError(f"motion: want one of {', '.join(MOTIONS)}, got {motion!r}")
        self.motion = motion
        self._source: Array | None = None
        self._neutral: Array | None = None

    def set_source(self, code: Array) -> None:
        """Take the photo's own code."""
        self._source = code.copy()

    def reset_neutral(self) -> None:
        """Forget the neutral code; the next driving code becomes it."""
        self._neutral = None

    def apply(self, driving: Array) -> Array:
        """Return what the renderer is given for a driving code, same shape and type."""
        assert self._source is not None, "set_source first"
        if self.motion == "absolute":
            return driving.copy()
        if self._neutral is None:
            self._neutral = driving.copy()
        return relative_code(self._source, driving, self._neutral)


def relative_code(source: Array, driving: Array, neutral: Array) -> Array:
    """Return the source code moved by what the driving code changed since the neutral one."""
    moved: Array = source + (driving - neutral)
    return moved.astype(source.dtype, copy=False)
