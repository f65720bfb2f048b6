"""Writing one picture where a video is expected: a photo that takes the expression of another."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from pocketportrait.atomic import replacing
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import WRITE_OPTIONS

STILLS = (".png", ".jpg", ".jpeg")  # whose formats hold Content Credentials


def is_still(path: Path) -> bool:
    """Return whether a name asks for one picture."""
    return path.suffix.lower() in STILLS


class StillWriter:
    """A context that writes one frame as a picture, whole or not at all; as `VideoWriter` is used."""

    note: str | None = None

    def __init__(self, path: Path) -> None:
        """Say what will be written; nothing is opened yet."""
        self.path = path
        self._picture: Array | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._temporary = stack.enter_context(replacing(self.path))
            self._stack = stack.pop_all()
        return self

    def write(self, rgb: Array, pts: int | None = None) -> None:
        """Take the frame, uint8 [H, W, 3]; its time says nothing here.

        Raises:
            InputError: it is the second one.

        """
        if self._picture is not None:
            raise InputError(
                f"{self.path}: want one picture that drives a still, got a video; name a .mp4"
            )
        self._picture = rgb

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._picture is None:
                raise InputError(f"{self.path}: want one frame, got none; nothing was written")
            options = WRITE_OPTIONS[self.path.suffix.lower()]
            Image.fromarray(self._picture).save(self._temporary, **options)
