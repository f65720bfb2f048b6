"""Decoding a photo, whatever it holds: called in a process of its own (`media.decoder_worker`)."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pocketportrait import limits
from pocketportrait.contract import Array
from pocketportrait.errors import InputError

# The formats people have photos in. Others stay closed: PostScript, for one, would run a program.
READ_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "TGA")
MATTE = (127, 127, 127)  # what shows through transparent parts

# What Pillow raises for damaged files, over all its formats.
_DAMAGED = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    struct.error,
)


def decode_photo(path: Path) -> Array:
    """Read a photo upright: EXIF orientation applied, transparency on grey, 8 bits a channel.

    Returns:
        uint8 [H, W, 3], RGB, C-contiguous.

    Raises:
        InputError: no picture, damaged, or larger than the limits.

    """
    with warnings.catch_warnings():
        # Pillow warns about large or odd files; ours is the limit that counts.
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None  # nor is its own limit one that can be raised
        try:
            with Image.open(path, formats=READ_FORMATS) as image:
                limits.current().check("photo_pixels", image.width * image.height, path, "pixels")
                image.load()
                return np.ascontiguousarray(_to_rgb(image))
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path}: want a photo (JPEG, PNG, WebP, ...), got another kind of file; convert it"
            ) from error
        except MemoryError as error:
            raise InputError(f"{path}: want a photo that fits in memory; scale it down") from error
        except _DAMAGED as error:
            raise InputError(
                f"{path}: want a whole photo, got a damaged one ({error}); save or copy it again"
            ) from error


def _to_rgb(image: Image.Image) -> Array:
    upright = _in_srgb(_upright(image))
    if upright.mode.startswith("I") or upright.mode == "F":
        grey = _to_eight_bits(np.asarray(upright))
        return np.repeat(grey[..., None], 3, axis=2)
    if upright.has_transparency_data:
        colour = upright.convert("RGBA")
        matte = Image.new("RGBA", colour.size, (*MATTE, 255))
        upright = Image.alpha_composite(matte, colour)
    return np.array(upright.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image  # broken EXIF data does not make the picture worse


def _in_srgb(image: Image.Image) -> Image.Image:
    """Apply the colour profile: phones save in Display P3, and CMYK without one looks garish."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return image
    return converted or image


def _to_eight_bits(grey: Array) -> Array:
    """Reduce 16-bit, 32-bit and float grey; the range is told from the largest value."""
    values = np.nan_to_num(grey.astype(np.float64))
    if grey.dtype == np.uint16 or values.max(initial=0.0) > 255:
        values /= 257
    elif grey.dtype.kind == "f" and values.max(initial=0.0) <= 1:
        values *= 255
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
