"""Whose pictures are scored: a bundle's, drawn now, or any other tool's, drawn before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait import SIDE_PX
from pocketportrait.validation.portrait_clips import (
    SHOWN_NAMES,
    Clip,
    fit,
    frames_of,
    is_video,
)

Pairs = Iterator[tuple[Array, Array]]


class Actor(Protocol):
    """Gives the frames to compare."""

    def perform(self, photo: Array, driver: Clip, frames: int | None) -> Pairs:
        """Yield outputs and driver frames, uint8 [256, 256, 3], of at most so many frames."""
        ...


class ModelActor:
    """Draws with a session; photos and drivers are framed already."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, photo: Array) -> None:
        """Take a photo, uint8 [256, 256, 3]."""
        self._session.set_photo(fit(photo, self._session.side))

    def step(self, frame: Array) -> Array:
        """Return the photo as it does what the driver does, both uint8 [256, 256, 3]."""
        return fit(self._session.step(fit(frame, self._session.side)), SIDE_PX)

    def perform(self, photo: Array, driver: Clip, frames: int | None) -> Pairs:
        """Yield what the photo makes of a driver, and the driver."""
        self.start(photo)
        for frame in driver_frames(driver, frames):
            yield self.step(frame), frame


class RecordedActor:
    """Reads videos that lie in a folder under the names of the clips that drove them."""

    def __init__(self, folder: Path, clips: Sequence[Clip]) -> None:
        """Find them all.

        Raises:
            InputError: no such folder, or a clip has no video in it.

        """
        self.warnings: list[str] = []
        if not folder.is_dir():
            raise InputError(
                f"{folder}: want a folder of rendered clips, got none; check --rendered"
            )
        found = {file.stem: file for file in folder.iterdir() if is_video(file)}
        if lost := [clip.name for clip in clips if clip.name not in found]:
            raise InputError(
                f"{folder}: want a video for every clip, got none for {', '.join(lost[:SHOWN_NAMES])}"
                f" ({len(lost)} of {len(clips)}); name those that you have with --clips"
            )
        self._files = found

    def perform(self, photo: Array, driver: Clip, frames: int | None) -> Pairs:
        """Yield recorded and driver frames one to one, as long as both last."""
        outputs = itertools.islice(frames_of(self._files[driver.name]), frames)
        both = itertools.zip_longest(outputs, driver_frames(driver, frames))
        for count, (output, frame) in enumerate(both):
            if output is None or frame is None:
                which = "driver" if frame is None else "recording"
                self.warnings.append(
                    f"{driver.name}: the {which} ends first; {count} frames are compared"
                )
                return
            yield fit(output, SIDE_PX), frame


def driver_frames(driver: Clip, frames: int | None) -> Iterator[Array]:
    """Yield the first so many frames of a clip, uint8 [256, 256, 3]."""
    for frame in itertools.islice(frames_of(driver.path), frames):
        yield fit(frame, SIDE_PX)
