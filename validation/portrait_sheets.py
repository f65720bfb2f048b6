"""Contact sheets: photo, driver, output and difference at each clip's liveliest frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pocketportrait.contract import Array
from pocketportrait.media.photo import write_picture

ROWS = 8
GAIN = 3  # how much differences are brightened
CAPTION_PX = 14


class Liveliest:
    """Keeps the one pair of frames of a clip whose driver is least like its first frame."""

    def __init__(self, photo: Array) -> None:
        self._photo = photo
        self._start: Array | None = None
        self._best: tuple[Array, Array] = photo, photo
        self._most = -1.0

    def add(self, output: Array, target: Array) -> None:
        """Take the next pair of frames, uint8 of the photo's shape."""
        if self._start is None:
            self._start = target.astype(np.int16)
        moved = float(np.abs(target - self._start).mean())
        if moved > self._most:
            self._most, self._best = moved, (output, target)

    def strip(self) -> Array:
        """Return photo, driver, output and |output - driver| side by side, uint8 [H, 4 W, 3]."""
        output, target = self._best
        difference = np.abs(output.astype(np.int16) - target) * GAIN
        shown = (self._photo, target, output, difference.clip(0, 255).astype(np.uint8))
        return np.concatenate(shown, axis=1)


class Sheets:
    """Strips gathered into pages of `ROWS`, each written when it is full."""

    def __init__(self, folder: Path, stem: str) -> None:
        """Say where pages go: `folder/stem-01.png` and so on."""
        self.pages: list[Path] = []
        self._folder = folder
        self._stem = stem
        self._rows: list[Array] = []

    def add(self, strip: Array, caption: str) -> None:
        """Append a strip under its caption."""
        bar = Image.new("RGB", (strip.shape[1], CAPTION_PX), "white")
        ImageDraw.Draw(bar).text((2, 1), caption, fill="black")
        self._rows += [np.asarray(bar), strip]
        if len(self._rows) == 2 * ROWS:
            self.finish()

    def finish(self) -> None:
        """Write what was gathered."""
        if not self._rows:
            return
        page = self._folder / f"{self._stem}-{len(self.pages) + 1:02d}.png"
        write_picture(page, np.concatenate(self._rows))
        self.pages.append(page)
        self._rows = []
