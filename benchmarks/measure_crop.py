"""Measure how CenterFace's box maps to the landmark box that the training pictures are framed by.

    python benchmarks/measure_crop.py DATA [--photos 400] [--clips 80]

DATA holds manifest.json with normalised landmark boxes (`box` of photos, `box_mean` of clips) and the
files it names. The constants are medians over every second photo; residuals are shown on the photos
left out, on clips (the median box over every 5th frame), and on photos placed in a larger picture at
another size, which shows that the second look makes the mapping independent of the size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pocketportrait.contract import Array
from pocketportrait.media.detector import CenterFaceDetector, FaceDetector
from pocketportrait.media.photo import read_photo
from pocketportrait.media.video import VideoReader

EVERY = 5
CANVAS_PX = (1280, 720)  # width, height
PLACED_PX = 430  # side of the photo on it


@dataclass(frozen=True)
class Pairs:
    """Boxes (left, top, right, bottom), one row per picture: what was detected and what was meant."""

    found: Array
    meant: Array
    missed: int

    def ratios(self) -> Array:
        """Return width, height, right and down per picture: the four constants of media.crop."""
        found_size, meant_size = _size(self.found), _size(self.meant)
        moved = (_center(self.meant) - _center(self.found)) / found_size
        return np.concatenate([meant_size / found_size, moved], axis=1)

    def report(self, name: str, constants: Array) -> str:
        """Return the residuals as a table row: size, x and y in parts of the larger face side."""
        size = _size(self.found) * constants[:2]
        center = _center(self.found) + constants[2:] * _size(self.found)
        side = _size(self.meant).max(axis=1)
        errors = {
            "size": size.max(axis=1) / side - 1,
            "x": (center - _center(self.meant))[:, 0] / side,
            "y": (center - _center(self.meant))[:, 1] / side,
        }
        cells = [f"{name} ({len(side)}, {self.missed} missed)"]
        for error in errors.values():
            low, middle, high = np.percentile(100 * error, [5, 50, 95])
            cells.append(f"{middle:+.1f} ({low:+.1f} .. {high:+.1f})")
        return "| " + " | ".join(cells) + " |"


def _size(boxes: Array) -> Array:
    return np.asarray(boxes[:, 2:] - boxes[:, :2])


def _center(boxes: Array) -> Array:
    return np.asarray((boxes[:, 2:] + boxes[:, :2]) / 2)


def _largest(detector: FaceDetector, picture: Array) -> list[float] | None:
    faces = detector.detect(picture)
    return [faces[0].left, faces[0].top, faces[0].right, faces[0].bottom] if faces else None


def _pairs(rows: Iterator[tuple[list[float] | None, list[float]]]) -> Pairs:
    both = list(rows)
    kept = [(found, meant) for found, meant in both if found is not None]
    found, meant = zip(*kept, strict=True)
    return Pairs(np.array(found), np.array(meant), len(both) - len(kept))


def photo_rows(
    detector: FaceDetector, data: Path, items: list[dict[str, Any]]
) -> Iterator[tuple[list[float] | None, list[float]]]:
    """Yield found and meant boxes of photos as they are."""
    for item in items:
        photo = read_photo(data / item["file"])
        yield _largest(detector, photo), [edge * photo.shape[0] for edge in item["box"]]


def placed_rows(
    detector: FaceDetector, data: Path, items: list[dict[str, Any]]
) -> Iterator[tuple[list[float] | None, list[float]]]:
    """Yield the same for photos enlarged and placed at random in a grey 1280x720 picture."""
    random = np.random.default_rng(0)
    for item in items:
        photo = Image.fromarray(read_photo(data / item["file"]))
        x = int(random.integers(CANVAS_PX[0] - PLACED_PX))
        y = int(random.integers(CANVAS_PX[1] - PLACED_PX))
        canvas = Image.new("RGB", CANVAS_PX, (127, 127, 127))
        canvas.paste(photo.resize((PLACED_PX, PLACED_PX), Image.Resampling.BICUBIC), (x, y))
        meant = [edge * PLACED_PX + (x, y)[i % 2] for i, edge in enumerate(item["box"])]
        yield _largest(detector, np.asarray(canvas)), meant


def clip_rows(
    detector: FaceDetector, data: Path, items: list[dict[str, Any]]
) -> Iterator[tuple[list[float] | None, list[float]]]:
    """Yield the median found box of each clip beside its recorded mean box."""
    for item in items:
        reader = VideoReader(data / item["file"])
        boxes = [_largest(detector, frame.rgb) for frame in reader.frames(every=EVERY)]
        found = [box for box in boxes if box is not None]
        meant = [edge * reader.facts.width for edge in item["box_mean"]]
        yield [float(edge) for edge in np.median(found, axis=0)] if found else None, meant


def _sample(items: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    usable = [
        item
        for item in items
        if item["split"] == "train" and item["style"] == "photo" and round(item["n_faces"]) == 1
    ]
    order = np.random.default_rng(0).permutation(len(usable))
    return [usable[i] for i in order[:count]]


def main() -> None:
    """Print the constants and the residuals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--clips", type=int, default=80)
    options = parser.parse_args()
    manifest = json.loads((options.data / "manifest.json").read_text())
    photos = _sample(manifest["photos"], options.photos)
    clips = _sample(manifest["clips"], options.clips)
    detector = CenterFaceDetector()

    fitted = _pairs(photo_rows(detector, options.data, photos[::2]))
    constants = np.round(np.median(fitted.ratios(), axis=0), 3)
    for name, value in zip(("WIDTH", "HEIGHT", "RIGHT", "DOWN"), constants, strict=True):
        print(f"LANDMARK_{name} = {value:.3f}")
    print("\nerrors in % of the landmark box's larger side: median (5 % .. 95 %)")
    print("| pictures | size | x | y |\n|---|---|---|---|")
    print(fitted.report("photos fitted", constants))
    rest = photos[1::2]
    print(_pairs(photo_rows(detector, options.data, rest)).report("photos left out", constants))
    placed = _pairs(placed_rows(detector, options.data, rest))
    print(placed.report("the same, placed", constants))
    print(_pairs(clip_rows(detector, options.data, clips)).report("clips", constants))


if __name__ == "__main__":
    main()
