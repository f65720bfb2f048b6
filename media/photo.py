"""Reading any photo as upright 8-bit RGB, and writing pictures."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pocketportrait.atomic import replacing
from pocketportrait.contract import Array
from pocketportrait.errors import InputError

# The formats people have photos in. Others stay closed: PostScript, for one, would run a program.
READ_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "TGA")
WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}
MOST_PIXELS = 120_000_000  # 360 MB as RGB; phones make up to 200 but save 12 to 50
MATTE = (127, 127, 127)  # what shows through transparent parts

# What Pillow raises for damaged files, over all its formats.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    struct.error,
)


def read_photo(path: Path) -> Array:
    """Read a photo upright: EXIF orientation applied, transparency on grey, 8 bits a channel.

    Args:
        path: JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF (first picture), JPEG 2000, PPM or TGA.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        InputError: the file is missing, empty, no picture, damaged, or has over 120 megapixels.

    """
    require_file(path, "photo")
    with warnings.catch_warnings():
        # Pillow warns about large or odd files; ours is the limit that counts.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=READ_FORMATS) as image:
                _check_size(path, image.size)
                image.load()
                return _to_rgb(image)
        except InputError:
            raise
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path}: want a photo (JPEG, PNG, WebP, ...), got another kind of file; convert it"
            ) from error
        except Image.DecompressionBombError as error:
            raise _too_large(path, "more") from error
        except MemoryError as error:
            raise InputError(f"{path}: want a photo that fits in memory; scale it down") from error
        except _DAMAGED as error:
            raise InputError(
                f"{path}: want a whole photo, got a damaged one ({error}); save or copy it again"
            ) from error


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
        if path.is_dir():
            raise InputError(f"{path}: want a {kind} file, got a folder; name a file in it")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: want a {kind}, got an empty file; copy it again")
    except FileNotFoundError as error:
        raise InputError(f"{path}: want a {kind}, got no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: want a readable {kind}, got: {reason}; check the file"
        ) from error


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise _too_large(path, f"{size[0]}x{size[1]}")


def _too_large(path: Path, got: str) -> InputError:
    return InputError(
        f"{path}: want at most {MOST_PIXELS // 10**6} megapixels, got {got}; scale the photo down"
    )


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
