import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import (
    LANDMARK_DOWN,
    LANDMARK_HEIGHT,
    LANDMARK_RIGHT,
    LANDMARK_WIDTH,
    SquareCrop,
    crop_for_face,
    cut,
    median_crop,
    ready_crop,
)
from pocketportrait.media.face import FaceBox

LARGE = (4000, 4000)


def face_with_landmarks(left: float, top: float, right: float, bottom: float) -> FaceBox:
    """Return the detector's box of a face whose landmark box is given."""
    width, height = (right - left) / LANDMARK_WIDTH, (bottom - top) / LANDMARK_HEIGHT
    x = (left + right) / 2 - LANDMARK_RIGHT * width
    y = (top + bottom) / 2 - LANDMARK_DOWN * height
    return FaceBox(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def noise(height: int, width: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_framing_is_that_of_the_training_data() -> None:
    # landmark box 160 x 200 around (2000, 2000): side 1.9 x 200, centre 0.08 x 200 up
    crop = crop_for_face(face_with_landmarks(1920, 1900, 2080, 2100), LARGE)
    assert crop.side == pytest.approx(380)
    assert crop.x + crop.side / 2 == pytest.approx(2000)
    assert crop.y + crop.side / 2 == pytest.approx(2000 - 16)


def test_a_crop_moves_inside_a_little_and_then_looks_over_the_border() -> None:
    near = crop_for_face(face_with_landmarks(100, 100, 260, 300), (640, 480))
    assert (near.x, near.y) == (0, 0)  # 10 and 6 px over the border: inside the limit
    corner = crop_for_face(face_with_landmarks(0, 0, 160, 200), (640, 480))
    assert corner.x == pytest.approx(80 - 190 + 0.08 * 380)
    assert corner.y < 0


def test_a_small_picture_narrows_the_crop_as_in_the_training_data() -> None:
    crop = crop_for_face(face_with_landmarks(100, 60, 260, 260), (320, 320))
    assert crop == SquareCrop(pytest.approx(20 - 20), pytest.approx(0), 320)
    tight = crop_for_face(face_with_landmarks(0, 0, 160, 200), (200, 200))
    assert tight.side == pytest.approx(1.35 * 200)


def test_a_still_head_gives_the_crop_of_a_photo() -> None:
    face = face_with_landmarks(1920, 1900, 2080, 2100)
    assert median_crop([face] * 7, LARGE) == crop_for_face(face, LARGE)


def test_a_moving_head_enlarges_the_crop_until_it_stays_inside() -> None:
    faces = [face_with_landmarks(1920 + x, 1900, 2080 + x, 2100) for x in range(-150, 151, 10)]
    crop = median_crop(faces, LARGE)
    assert 1.9 * 200 < crop.side <= 3.2 * 200
    assert crop.x < 1920 - 140
    assert crop.x + crop.side > 2080 + 140
    wild = [face_with_landmarks(1920 + x, 1900, 2080 + x, 2100) for x in range(-900, 901, 10)]
    assert median_crop(wild, LARGE).side == pytest.approx(3.2 * 200)


def test_one_false_face_in_a_hundred_changes_nothing() -> None:
    face = face_with_landmarks(1920, 1900, 2080, 2100)
    crop = median_crop([face] * 99 + [face_with_landmarks(0, 0, 900, 900)], LARGE)
    assert crop.side == pytest.approx(380)


def test_no_face_is_said() -> None:
    with pytest.raises(InputError, match="want at least one face"):
        median_crop([], LARGE)


def test_ready_crop_is_the_centred_square() -> None:
    assert ready_crop((256, 256)) == SquareCrop(0, 0, 256)
    assert ready_crop((300, 200)) == SquareCrop(50, 0, 200)


def test_cutting_a_ready_crop_changes_no_pixel() -> None:
    image = noise(256, 256)
    np.testing.assert_array_equal(cut(image, SquareCrop(0, 0, 256)), image)


def test_whole_pixels_are_averaged_by_area() -> None:
    image = noise(40, 60)
    block = image[10:30, 20:40].astype(float).reshape(10, 2, 10, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(cut(image, SquareCrop(20, 10, 20), 10), np.floor(block + 0.5))


def test_parts_of_pixels_count_as_parts() -> None:
    image = noise(90, 90)
    fine = image.repeat(4, axis=0).repeat(4, axis=1).astype(float)  # a quarter pixel is exact here
    part = fine[13 : 13 + 250, 7 : 7 + 250].reshape(50, 5, 50, 5, 3).mean(axis=(1, 3))
    got = cut(image, SquareCrop(7 / 4, 13 / 4, 250 / 4), 50)
    assert np.abs(got - part).max() <= 0.5 + 1e-3  # rounding to 8 bits, and float32 sums


def test_the_mean_survives_any_shrinking() -> None:
    image = noise(200, 200)
    for side in (13, 64, 199):
        got = cut(image, SquareCrop(0, 0, 200), side)
        assert got.mean() == pytest.approx(image.mean(), abs=0.3)


def test_outside_the_picture_the_border_is_repeated() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[0] = 200
    for side in (20, 60):  # the averaging and the enlarging way
        got = cut(image, SquareCrop(-5, -10, 20), side)
        assert (got[: side // 4] == 200).all()
    np.testing.assert_array_equal(cut(image, SquareCrop(50, -90, 4), 4), 200)


def test_enlarging_is_smooth_and_in_place() -> None:
    y, x = np.mgrid[:64, :64]
    image = np.stack([x * 3, y * 3, (x + y) * 1.5], axis=-1).astype(np.uint8)
    got = cut(image, SquareCrop(16, 16, 32), 256).astype(float)
    where = (np.arange(256) + 0.5) / 8 + 16 - 0.5
    np.testing.assert_allclose(got[100, :, 0], where * 3, atol=1.01)  # rounding in two passes
    np.testing.assert_allclose(got[:, 30, 1], where * 3, atol=1.01)


def test_a_subpixel_crop_shifts_by_that_part() -> None:
    image = np.repeat(np.arange(0, 200, 4, dtype=np.uint8)[None, :, None], 50, axis=0).repeat(3, 2)
    for side in (32, 64):
        base = cut(image, SquareCrop(8, 8, 32), side).astype(float)
        moved = cut(image, SquareCrop(8.5, 8, 32), side).astype(float)
        assert (moved - base).mean() == pytest.approx(2, abs=0.2)
