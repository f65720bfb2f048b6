import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.media.crop import SquareCrop, cut
from pocketportrait.media.paste import FEATHER, paste


def smooth_photo(height: int = 300, width: int = 400) -> Array:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 31) + np.cos(y / 27), np.sin((x + y) / 40), np.cos((x - y) / 35)]
    return np.stack([127 + 50 * wave for wave in waves], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    "crop",
    [
        SquareCrop(70.3, 20.7, 230.4),  # enlarged to 256 and shrunk back
        SquareCrop(20.5, 3.25, 290.0),  # shrunk to 256 and enlarged back
        SquareCrop(-40.0, -25.5, 280.0),  # over the border
        SquareCrop(0, 0, 300),
    ],
)
def test_the_picture_that_was_cut_leaves_no_seam(crop: SquareCrop) -> None:
    photo = smooth_photo()
    got = paste(photo, crop, cut(photo, crop))
    assert np.abs(got.astype(int) - photo).max() <= 2  # two resamplings of a smooth photo


def test_pixels_outside_the_crop_are_untouched_and_the_middle_is_new() -> None:
    photo = smooth_photo()
    got = paste(photo, SquareCrop(100, 50, 200), np.full((256, 256, 3), 255, np.uint8))
    outside = np.ones(photo.shape[:2], bool)
    outside[50:250, 100:300] = False
    np.testing.assert_array_equal(got[outside], photo[outside])
    edge = int(FEATHER * 200) + 1
    assert (got[50 + edge : 250 - edge, 100 + edge : 300 - edge] == 255).all()


def test_the_mask_is_soft() -> None:
    black = np.zeros((300, 400, 3), np.uint8)
    got = paste(black, SquareCrop(100, 50, 200), np.full((256, 256, 3), 255, np.uint8))
    steps = np.diff(got[150, :, 0].astype(int))
    assert np.abs(steps).max() <= 255 * 1.5 / (FEATHER * 200) + 2  # the steepest place of the ramp
    assert got[150, 100, 0] < 5


def test_along_the_photos_own_border_nothing_old_is_left() -> None:
    black = np.zeros((200, 200, 3), np.uint8)
    got = paste(black, SquareCrop(0, 0, 200), np.full((256, 256, 3), 255, np.uint8))
    assert (got == 255).all()


def test_the_photo_itself_is_not_written_to() -> None:
    photo = smooth_photo()
    before = photo.copy()
    paste(photo, SquareCrop(10, 10, 100), np.zeros((256, 256, 3), np.uint8))
    np.testing.assert_array_equal(photo, before)


def test_a_crop_beside_the_photo_changes_nothing() -> None:
    photo = smooth_photo()
    got = paste(photo, SquareCrop(900, 10, 100), np.zeros((256, 256, 3), np.uint8))
    np.testing.assert_array_equal(got, photo)
