"""The visible label: a few words in a corner that say what the picture is."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pocketportrait.contract import Array

WORDS = "AI-generated"
SHARE = 0.05  # letters' height of the picture's shorter side
LEAST_PX = 9
MARGIN = 0.5  # of the letters' height
BACKGROUND = 0.55  # how dark the plate behind the letters is


def draw_label(picture: Array) -> Array:
    """Return the picture with the label in its lower left corner, uint8 [H, W, 3]."""
    letters = _letters(*picture.shape[:2])
    height, width = letters.shape
    labelled = picture.copy()
    corner = labelled[-height:, :width].astype(np.float32) * (1 - BACKGROUND)
    mixed = corner + (255 - corner) * letters[..., None]
    labelled[-height:, :width] = np.rint(mixed)
    return labelled


@functools.lru_cache(maxsize=4)
def _letters(height: int, width: int) -> Array:
    """Return how white each pixel of the plate is, float32 0..1; no larger than the picture."""
    size = max(LEAST_PX, round(SHARE * min(height, width)))
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(WORDS)
    margin = round(MARGIN * size)
    plate = Image.new("L", (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin))
    ImageDraw.Draw(plate).text((margin - left, margin - top), WORDS, fill=255, font=font)
    return np.asarray(plate, np.float32)[:height, :width] / 255
