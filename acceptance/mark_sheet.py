"""What the mark looks like: pictures without it, with it, and the difference twenty times as strong.

    python acceptance/mark_sheet.py [--out FILE.png]

Rows: the sample photos, a plain sky, plain skin, and faces that the shipped weights draw without a mark
(the shipped bundle would mark them twice). To be looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from score_environment import ROOT

from pocketportrait.contract import Array
from pocketportrait.export.golden import golden_vectors
from pocketportrait.export.sample_pairs import sample_pairs
from pocketportrait.mark import field_of_side, mark_picture
from pocketportrait.media.photo import write_picture
from pocketportrait.models.weights import load_student, shipped_weights

SIDE = 256
GAIN = 20
BUNDLE_ID = 0x0123456789ABCDEF


def flat(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Array:
    """Return a picture that goes smoothly from one colour to another, 0..1."""
    share = np.linspace(0, 1, SIDE)[:, None, None]
    return np.broadcast_to(
        (np.array(top) * (1 - share) + np.array(bottom) * share) / 255, (SIDE, SIDE, 3)
    )


def pictures() -> list[Array]:
    """Return the sample photos, two plain ones, and what the student draws, uint8 [256, 256, 3]."""
    pairs = sample_pairs(2, SIDE)
    plain = [flat((90, 150, 225), (160, 210, 240)), flat((225, 180, 158), (202, 163, 140))]
    student = load_student(shipped_weights())
    drawn = [golden_vectors(student, pair, exact=False)["render"]["image"] for pair in pairs]
    return [
        *(levels(photo) for photo, _ in pairs),
        *map(levels, plain),
        *(levels(image[0].transpose(1, 2, 0)) for image in drawn),
    ]


def levels(picture: Array) -> Array:
    """Turn 0..1 into uint8."""
    return np.asarray((picture * 255).round(), np.uint8)


def main() -> int:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "mark" / "sheet.png")
    options = parser.parse_args()
    field = field_of_side(BUNDLE_ID, SIDE)
    rows = []
    for picture in pictures():
        marked = mark_picture(picture, field)
        difference = 128 + GAIN * (marked.astype(np.int16) - picture)
        rows.append(np.concatenate([picture, marked, difference.clip(0, 255).astype(np.uint8)], 1))
    write_picture(options.out, np.concatenate(rows))
    print(f"sheet: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
