"""LivePortrait's framing: squares from face points, there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers.liveportrait_crop import (
    CROP_PX,
    TurnedSquare,
    cut_square,
    driver_square,
    eye_ratios,
    limit_photo,
    lip_ratio,
    paste_square,
    photo_square,
)


def face(angle: float = 0.0, center: tuple[float, float] = (300.0, 200.0)) -> Array:
    """An upright face 100 wide and 120 high, its eyes 30 above the middle, then turned."""
    points = np.zeros((203, 2))
    points[108:] = (0, 0)
    points[[108, 109, 110, 111]] = [(-50, 0), (50, 0), (0, -60), (0, 60)]
    points[[0, 6, 12, 18]] = [(-30, -30), (-20, -34), (-10, -30), (-20, -26)]
    points[[24, 30, 36, 42]] = [(10, -30), (20, -35), (30, -30), (20, -25)]
    points[[48, 66]] = [(-15, 30), (15, 30)]
    points[[90, 102]] = [(0, 27), (0, 33)]
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: Array = points @ np.array([[cosine, sine], [-sine, cosine]]) + center
    return turned


def smooth(height: int, width: int) -> Array:
    y, x = np.mgrid[:height, :width]
    channels = [127 + 100 * np.sin(x / 37), 127 + 100 * np.cos(y / 29), (x + y) % 200]
    channels[2] = 127 + 100 * np.sin((x + y) / 41)
    return np.stack(channels, -1).astype(np.uint8)


def test_a_photos_square_is_2_3_boxes_raised_by_an_eighth() -> None:
    square = photo_square(face())
    assert square.side == pytest.approx(120 * 2.3)
    assert (square.x, square.y) == pytest.approx((300, 200 - 0.125 * 120 * 2.3))
    assert square.angle == pytest.approx(0)


@pytest.mark.parametrize("angle", [-0.7, 0.3, 1.2])
def test_a_photos_square_turns_with_the_face(angle: float) -> None:
    square = photo_square(face(angle))
    upright = photo_square(face())
    assert square.angle == pytest.approx(angle)
    assert square.side == pytest.approx(upright.side)
    eyes = face(angle)[[0, 6, 12, 18, 24, 30, 36, 42]]
    want = upright.to_square(face()[[0, 6, 12, 18, 24, 30, 36, 42]])
    assert square.to_square(eyes) == pytest.approx(want)


def test_a_drivers_square_is_never_turned_and_is_the_mean_of_its_frames() -> None:
    square = driver_square([face(0.0, (300, 200)), face(0.0, (320, 220))])
    assert square.angle == 0
    assert square.side == pytest.approx(120 * 2.2)
    assert (square.x, square.y) == pytest.approx((310, 210 - 0.1 * 120 * 2.2))
    with pytest.raises(InputError, match="at least one driving frame"):
        driver_square([])


def test_places_go_to_the_square_and_back() -> None:
    square = TurnedSquare(120, 80, 64, 0.4)
    unit = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 7, 2))
    assert square.to_square(square.to_picture(unit)) == pytest.approx(unit)


def test_an_aligned_square_is_cut_pixel_by_pixel() -> None:
    picture = smooth(100, 120)
    got = cut_square(picture, TurnedSquare(50, 40, 64), 64)
    assert np.array_equal(got, picture[8:72, 18:82])


def test_outside_the_picture_is_black() -> None:
    got = cut_square(np.full((64, 64, 3), 200, np.uint8), TurnedSquare(0, 0, 64), 64)
    assert (got[:31, :31] == 0).all()
    assert (got[33:, 33:] == 200).all()


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_what_was_cut_goes_back_to_its_place(angle: float) -> None:
    photo = smooth(400, 600)
    square = TurnedSquare(300, 200, 256, angle)
    back = paste_square(photo, square, cut_square(photo, square, CROP_PX))
    assert np.abs(back.astype(int) - photo).max() <= 3
    assert not np.shares_memory(back, photo)


def test_only_the_square_changes_and_its_border_is_soft() -> None:
    photo = np.zeros((400, 600, 3), np.uint8)
    square = TurnedSquare(300, 200, 200)
    out = paste_square(photo, square, np.full((512, 512, 3), 255, np.uint8))
    assert out[200, 300].min() == 255
    assert out[:, :200].max() == out[:, 400:].max() == out[:100].max() == out[300:].max() == 0
    row = out[200, 200:300, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] < 5
    assert len(set(row)) > 10


def test_a_square_beside_the_photo_changes_nothing() -> None:
    photo = smooth(64, 64)
    out = paste_square(photo, TurnedSquare(500, 500, 50), np.zeros((512, 512, 3), np.uint8))
    assert np.array_equal(out, photo)


def test_ratios_of_lips_and_eyes() -> None:
    assert lip_ratio(face()) == pytest.approx(6 / 30)
    assert eye_ratios(face(0.4)) == pytest.approx((8 / 20, 10 / 20))


def test_large_and_odd_photos_are_limited() -> None:
    assert limit_photo(np.zeros((2000, 1001, 3), np.uint8)).shape == (1280, 640, 3)
    assert limit_photo(np.zeros((101, 77, 3), np.uint8)).shape == (100, 76, 3)


@pytest.mark.parametrize("points", [np.zeros((106, 2)), np.full((203, 2), np.nan)])
def test_other_points_are_refused(points: Array) -> None:
    with pytest.raises(InputError, match="want 203 finite face points"):
        lip_ratio(points)


def test_a_face_in_one_point_is_refused() -> None:
    with pytest.raises(InputError, match="eyes above a mouth"):
        photo_square(np.zeros((203, 2)))
