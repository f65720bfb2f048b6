"""The portrait metrics of one clip, fed one pair of frames at a time; memory does not grow with it.

Figures are means over frames. `*_static` is the same figure for "repeat the photo": clips differ in how
much they move, so a figure is read as its ratio to that. `docs/evaluation.md` defines each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.validation.portrait_faces import FaceReading, FaceTally, ReadsFaces
from pocketportrait.validation.portrait_pixels import PixelTally
from pocketportrait.validation.temporal import FlickerTally, forth_and_back

SIDE_PX = 256  # of the pictures that are compared
FACE_STRIDE = 2  # every second frame: reading a face is the dearest part
DRIFT_FRAMES = 250
STATIC_FACE_FIGURES = ("akd_px", "aed", "apd_deg")
FACE_FIGURES = (*STATIC_FACE_FIGURES, "csim", "corr_jaw", "corr_blink", "corr_yaw", "missing")

Kind = Literal["self", "cross"]


class PortraitTally:
    """All figures of one clip.

    Self-reenactment compares with the driver itself; cross-reenactment only with how the driver's face
    moves, because the output is another person.
    """

    def __init__(self, kind: Kind, photo: Array, reader: ReadsFaces | None) -> None:
        """Take the photo that performs.

        Args:
            kind: what is compared.
            photo: uint8 [256, 256, 3]; in self-reenactment the clip's first frame.
            reader: reads faces; without one there are pixel figures only.

        """
        self.frames = 0
        self._kind = kind
        self._photo = photo
        self._reader = reader
        self._pixels, self._still_pixels = PixelTally(), PixelTally()
        self._flicker = FlickerTally()
        relative = kind == "cross"
        self._face = reader.read(photo, identity=True) if reader else None
        self._faces = FaceTally(self._face, relative=relative)
        self._still_faces = FaceTally(self._face, relative=relative)

    @property
    def faces(self) -> int:
        """Frames whose faces were compared."""
        return self._faces.faces

    def add(self, output: Array, target: Array) -> None:
        """Take the next pair of frames, uint8 [256, 256, 3]."""
        if self._kind == "self":
            self._pixels.add(self.frames, output, target)
            self._still_pixels.add(self.frames, self._photo, target)
            self._flicker.add(output, target)
        if self._reader and self.frames % FACE_STRIDE == 0:
            wanted = self._reader.read(target)
            self._faces.add(self._reader.read(output, identity=True), wanted)
            self._still_faces.add(self._face, wanted)
        self.frames += 1

    def figures(self) -> dict[str, float]:
        """Return every figure that could be measured, by name."""
        found: dict[str, float] = {}
        if self._kind == "self":
            found |= self._pixels.figures() | _static(self._still_pixels.figures())
            found |= self._flicker.figures()
        if self._reader:
            found |= self._faces.figures()
            still = self._still_faces.figures()
            found |= _static({k: v for k, v in still.items() if k in STATIC_FACE_FIGURES})
        return found


def drift(
    perform: Callable[[Array], Array],
    driver: Sequence[Array],
    photo: Array,
    reader: ReadsFaces | None,
    *,
    frames: int = DRIFT_FRAMES,
) -> dict[str, float]:
    """Play a driver forth and back; return each figure of the last whole pass minus that of the first.

    Both passes hold the same driver frames, so a model that only looks at the photo and the frame
    drifts by exactly 0.

    Args:
        perform: gives the output, uint8 [256, 256, 3], of the next driver frame.
        driver: uint8 [256, 256, 3] each; `frames // 2` of them are used at most.
        photo: what is performed with, uint8 [256, 256, 3].
        reader: reads faces; without one the drift of L1 alone is told.
        frames: the most that are played.

    Returns:
        `drift_l1`, `drift_akd_px`, `drift_aed`, `drift_apd_deg`, `drift_csim`, as far as they could be
        measured; empty for a clip too short to turn.

    """
    order = forth_and_back(len(driver), frames)
    if order is None:
        return {}
    played, last = order
    first_pass, last_pass = _PassTally(photo, reader), _PassTally(photo, reader)
    for count, index in enumerate(played):
        output = perform(driver[index])
        if count < len(last):
            first_pass.add(index, output, driver[index])
        if count >= len(played) - len(last):
            last_pass.add(index, output, driver[index])
    before, after = first_pass.figures(), last_pass.figures()
    return {f"drift_{name}": after[name] - before[name] for name in before.keys() & after.keys()}


class _PassTally:
    """What a drift is told of; added up in the driver's order, so that forth and back are one sum."""

    def __init__(self, photo: Array, reader: ReadsFaces | None) -> None:
        self._reader = reader
        self._photo = reader.read(photo, identity=True) if reader else None
        self._l1: dict[int, float] = {}
        self._read: dict[int, tuple[FaceReading | None, FaceReading | None]] = {}

    def add(self, index: int, output: Array, target: Array) -> None:
        difference = np.abs(output.astype(np.int16) - target)
        self._l1[index] = float(difference.mean()) / 255
        if self._reader and index % FACE_STRIDE == 0:
            out = self._reader.read(output, identity=True)
            self._read[index] = (out, self._reader.read(target))

    def figures(self) -> dict[str, float]:
        faces = FaceTally(self._photo, relative=False)
        for index in sorted(self._read):
            faces.add(*self._read[index])
        told = (*STATIC_FACE_FIGURES, "csim")
        found = {k: v for k, v in faces.figures().items() if k in told}
        return {"l1": float(np.mean([self._l1[k] for k in sorted(self._l1)]))} | found


def _static(figures: dict[str, float]) -> dict[str, float]:
    return {f"{name}_static": value for name, value in figures.items()}
