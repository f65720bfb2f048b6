"""Reading any photo as upright 8-bit RGB, and writing pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pocketportrait import limits
from pocketportrait.atomic import replacing
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.decoder import Decoder

WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}


def read_photo(path: Path) -> Array:
    """Read a photo upright: EXIF orientation applied, transparency on grey, 8 bits a channel.

    Args:
        path: JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF (first picture), JPEG 2000, PPM or TGA.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        InputError: the file is missing, empty, no picture, damaged, or larger than the limits
            (120 megapixels, unless they were raised).

    """
    require_file(path, "photo")
    most = limits.current()
    most.check_file("photo_bytes", path)
    decoder = Decoder("photo", path)
    try:
        return decoder.picture(decoder.answer(), most.photo_pixels)
    finally:
        decoder.close()


def write_picture(path: Path, picture: Array) -> None:
    """Write uint8 [H, W, 3] as PNG, JPEG or WebP (by suffix), whole or not at all.

    Raises:
        InputError: the suffix names no such format, or the place cannot be written to.

    """
    options = WRITE_OPTIONS.get(path.suffix.lower())
    if options is None:
        raise InputError(f"{path}: want a name that ends in {', '.join(WRITE_OPTIONS)}; rename it")
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, **options)


def limit_side(picture: Array, longest_px: int) -> Array:
    """Shrink a picture so that its longer side is at most `longest_px`; smaller ones stay."""
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1.0:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def require_file(path: Path, kind: str) -> None:
    """Check that a file is there and has content.

    Raises:
        InputError: it is missing, a folder, empty, or may not be read.

    """
    try:
        is_folder = path.is_dir()
        is_empty = not is_folder and not _first_byte(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: want a {kind}, got no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: want a readable {kind}, got: {reason}; check the file"
        ) from error
    if is_folder:
        raise InputError(f"{path}: want a {kind} file, got a folder; name a file in it")
    if is_empty:
        raise InputError(f"{path}: want a {kind}, got an empty file; copy it again")


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1)
