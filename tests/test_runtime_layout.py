from __future__ import annotations

import numpy as np
import pytest

from pocketportrait.contract import TensorSpec, image_spec
from pocketportrait.errors import InputError
from pocketportrait.runtime.feed import check_feed
from pocketportrait.runtime.layout import convert

CONTRACT = image_spec("photo", 4)
PIXELS = TensorSpec("photo", (1, 4, 4, 3), "uint8", "NHWC", 0, 255)
VALUES = np.random.default_rng(0).random((1, 3, 4, 4), dtype=np.float32)


def test_channels_move_and_come_back() -> None:
    there = convert(VALUES, CONTRACT, CONTRACT.nhwc())
    np.testing.assert_array_equal(there, VALUES.transpose(0, 2, 3, 1))
    assert there.flags.c_contiguous
    np.testing.assert_array_equal(convert(there, CONTRACT.nhwc(), CONTRACT), VALUES)


def test_pixels_are_rounded_and_rescaled_by_the_declared_ranges() -> None:
    pixels = convert(VALUES, CONTRACT, PIXELS)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.rint(VALUES * 255).transpose(0, 2, 3, 1))
    back = convert(pixels, PIXELS, CONTRACT)
    assert back.dtype == np.float32
    assert np.abs(back - VALUES).max() <= 0.5 / 255 + 1e-6


def test_values_beyond_the_range_do_not_wrap_around() -> None:
    wild = np.array([-0.2, 1.3], np.float32).repeat(24).reshape(1, 3, 4, 4)
    assert set(np.unique(convert(wild, CONTRACT, PIXELS))) == {0, 255}


def test_unbounded_tensors_keep_their_values() -> None:
    code = TensorSpec("code", (1, 3), layout="NC")
    half = TensorSpec("code", (1, 3), "float16", "NC")
    value = np.array([[-3.5, 0.25, 200.0]], np.float32)
    np.testing.assert_array_equal(convert(value, code, half), value)
    assert convert(value, code, half).dtype == np.float16


def test_a_feed_unlike_the_file_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"motion.onnx: want inputs \['photo'\], got \['frame'\]"):
        check_feed("motion.onnx", [CONTRACT], {"frame": VALUES})
    with pytest.raises(
        InputError, match=r"photo: want float32 \(1, 3, 4, 4\) \(NCHW\), got float64"
    ):
        check_feed("motion.onnx", [CONTRACT], {"photo": VALUES.astype(np.float64)})
