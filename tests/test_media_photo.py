import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import limit_side, read_photo, write_picture
from pocketportrait.media.photo_decoding import MATTE, decode_photo

ORIENTATION_TAG = 0x0112


def gradient(height: int = 20, width: int = 30) -> Array:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 8, y * 12, (x + y) * 4], axis=-1).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "tga", "webp"])
def test_rgb_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(gradient()), **options)
    np.testing.assert_array_equal(read_photo(path), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(gradient()), exif=exif)
    np.testing.assert_array_equal(read_photo(path), turned(gradient()))


def test_broken_exif_does_not_refuse_the_photo(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "a.jpg", Image.fromarray(gradient()), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"
    )
    assert read_photo(path).shape == (20, 30, 3)


def test_transparency_shows_the_matte(tmp_path: Path) -> None:
    rgba = np.dstack([gradient(), np.zeros((20, 30), np.uint8)])
    rgba[:, 15:, 3] = 255
    got = read_photo(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    np.testing.assert_array_equal(got[:, 15:], gradient()[:, 15:])
    assert (got[:, :15] == MATTE).all()


def test_palette_with_transparency(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.repeat([[0, 1]], 4, axis=0).astype(np.uint8), mode="P")
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    got = read_photo(saved(tmp_path / "a.png", indexed, transparency=0))
    assert tuple(got[0, 0]) == MATTE
    assert tuple(got[0, 1]) == (0, 0, 255)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    got = read_photo(saved(tmp_path / f"a.{suffix}", Image.fromarray(gradient()).convert(mode)))
    assert got.shape == (20, 30, 3)
    assert got.dtype == np.uint8
    assert got.max() > got.min()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_reduced_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    got = read_photo(saved(tmp_path / f"a.{suffix}", Image.fromarray(ramp)))
    np.testing.assert_array_equal(got[0, :, 1], np.arange(256))


def test_float_grey_of_0_to_1(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    got = read_photo(saved(tmp_path / "a.tif", Image.fromarray(ramp)))
    np.testing.assert_array_equal(got[0, :, 0], np.arange(256))


def test_sixteen_bit_rgb_png(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", 65535, 0, 0, 0, 32896, 65535) for _ in range(2))
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 2, depth=16, colour=2, rows=rows))
    np.testing.assert_array_equal(read_photo(path)[0], [[255, 0, 0], [0, 128, 255]])


def test_colour_profiles_are_applied(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = read_photo(saved(tmp_path / "a.png", Image.fromarray(gradient()), icc_profile=lab))
    assert np.abs(same.astype(int) - gradient()).max() <= 1
    broken = saved(tmp_path / "b.png", Image.fromarray(gradient()), icc_profile=b"not a profile")
    np.testing.assert_array_equal(read_photo(broken), gradient())


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3000, 2)])
def test_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", size, (9, 8, 7)))
    assert read_photo(path).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"hello", "got another kind of file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "got another kind of file"),
        (b"\x89PNG\r\n\x1a\n", "want a"),
        (b"\xff\xd8\xff\xe0", "want a"),
    ],
)
def test_no_photo_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_photo(path)
    assert "\n" not in str(caught.value)
    assert "a.jpg: want" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_photo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="got a folder"):
        read_photo(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "gif"])
def test_truncated_at_any_place_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = saved(tmp_path / f"whole.{suffix}", Image.fromarray(noise)).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match="want a"):
            decode_photo(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    random = np.random.default_rng(0)
    whole = bytearray(saved(tmp_path / f"a.{suffix}", Image.fromarray(gradient())).read_bytes())
    path = tmp_path / f"b.{suffix}"
    refusals = []
    for _ in range(60):
        bad = whole.copy()
        for place in random.integers(0, len(bad), 4):
            bad[place] = int(random.integers(256))
        path.write_bytes(bad)
        try:
            assert decode_photo(path).ndim == 3
        except InputError as error:
            refusals.append(str(error))
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_pixel_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(side, side, depth=8, colour=2, rows=b""))
    with pytest.raises(
        InputError, match=r"want at most 120000000 pixels, got \d+; .*--limit photo_pixels=N"
    ):
        read_photo(path)


def test_pictures_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "a.png", gradient())
    np.testing.assert_array_equal(read_photo(tmp_path / "new" / "a.png"), gradient())
    with pytest.raises(InputError, match="want a name that ends in"):
        write_picture(tmp_path / "a.xyz", gradient())
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="want a writable place"):
        write_picture(tmp_path / "file" / "a.png", gradient())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "new"]


def test_limit_side_keeps_small_pictures() -> None:
    small = gradient()
    assert limit_side(small, 30) is small
    assert limit_side(small, 15).shape == (10, 15, 3)


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out.write(struct.pack(">I", len(data)) + name + data)
        out.write(struct.pack(">I", zlib.crc32(name + data)))
    return out.getvalue()
