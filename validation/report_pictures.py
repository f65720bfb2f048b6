"""Pictures of a report: strips of what was drawn, and the frames in which two variants differ most."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow

from pocketportrait.contract import Array
from pocketportrait.validation.report_record import Image, Picture

THUMB_PX, WEBP_QUALITY = 128, 88
PICTURE_PX = 272  # two rows of thumbs and the gap between them
WORST_PX = 192
GAP_PX = 16
GAIN = 3  # how much differences are brightened


def strip(title: str, photo: Array, drivers: Sequence[Array], outputs: Sequence[Array]) -> Picture:
    """Return a photo beside a few frames: the drivers above, what came out below.

    Args:
        title: what performs what.
        photo: uint8 [H, W, 3].
        drivers: uint8 [H, W, 3] each.
        outputs: one for each driver.

    """
    rows = [
        np.concatenate(_spaced([_resized(f, THUMB_PX) for f in frames], axis=1), axis=1)
        for frames in (drivers, outputs)
    ]
    both = np.concatenate(_spaced(rows, axis=0), axis=0)
    frames = f"{len(drivers)} driving frames above, and below each the photo performing it"
    return Picture(
        kind="strip",
        title=title,
        caption="Upper row: the driver. Lower row: the photo, drawn by the exported files.",
        images=(embed(_resized(photo, PICTURE_PX), f"The photo: {title}"), embed(both, frames)),
    )


def worst(title: str, driver: Array, reference: Array, output: Array, psnr_db: float) -> Picture:
    """Return the frame in which a variant is least like its reference.

    Args:
        title: variant and clip.
        driver: uint8 [H, W, 3].
        reference: what the fp32 variant drew of it, uint8 [H, W, 3].
        output: what the variant drew, of the same shape.
        psnr_db: of the two.

    """
    difference = np.abs(output.astype(np.int16) - reference) * GAIN
    shown = {
        "the driver": driver,
        "fp32": reference,
        "the variant": output,
        f"{GAIN} times the difference": difference.clip(0, 255).astype(np.uint8),
    }
    return Picture(
        kind="worst",
        title=title,
        caption=f"{', '.join(shown)}: {psnr_db:.1f} dB",
        images=tuple(embed(_resized(p, WORST_PX), f"{n}: {title}") for n, p in shown.items()),
    )


def embed(picture: Array, alt: str) -> Image:
    """Return a picture as WebP, whose gaps are transparent on light and on dark pages.

    Args:
        picture: uint8 [H, W, 3 or 4].
        alt: what it shows, in words.

    """
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    height, width = picture.shape[:2]
    data = base64.b64encode(buffer.getvalue()).decode()
    return Image(alt=alt, width=width, height=height, webp_base64=data)


def _spaced(parts: Sequence[Array], axis: int) -> list[Array]:
    """Put transparent gaps between RGBA pictures."""
    spaced: list[Array] = []
    for part in parts:
        shape = list(part.shape)
        shape[axis] = GAP_PX if axis == 0 else GAP_PX // 4
        spaced += [np.zeros(shape, np.uint8), part] if spaced else [part]
    return spaced


def _resized(picture: Array, height: int) -> Array:
    image = Pillow.fromarray(picture).convert("RGBA")
    width = round(image.width * height / image.height)
    return np.asarray(image.resize((width, height), Pillow.Resampling.LANCZOS))
