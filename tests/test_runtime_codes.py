from __future__ import annotations

import numpy as np
import pytest

from pocketportrait.errors import InputError
from pocketportrait.runtime.codes import MotionTransfer, relative_code

SOURCE = np.array([[0.1, -0.2, 3.0]], np.float32)
NEUTRAL = np.array([[0.5, 0.5, 0.5]], np.float32)
DRIVING = np.array([[0.75, 0.25, 0.5]], np.float32)


def test_relative_motion_adds_the_drivers_change_to_the_source() -> None:
    code = relative_code(SOURCE, DRIVING, NEUTRAL)
    np.testing.assert_allclose(code, [[0.35, -0.45, 3.0]], rtol=1e-6)
    assert code.dtype == np.float32


def test_the_first_frame_of_relative_motion_leaves_the_photo_as_it_is() -> None:
    transfer = MotionTransfer("relative")
    transfer.set_source(SOURCE)
    np.testing.assert_array_equal(transfer.apply(NEUTRAL), SOURCE)
    np.testing.assert_allclose(transfer.apply(DRIVING), [[0.35, -0.45, 3.0]], rtol=1e-6)


def test_reset_makes_the_next_frame_neutral() -> None:
    transfer = MotionTransfer("relative")
    transfer.set_source(SOURCE)
    transfer.apply(NEUTRAL)
    transfer.reset_neutral()
    np.testing.assert_array_equal(transfer.apply(DRIVING), SOURCE)


def test_absolute_motion_takes_the_driver_as_it_is() -> None:
    transfer = MotionTransfer("absolute")
    transfer.set_source(SOURCE)
    code = transfer.apply(DRIVING)
    np.testing.assert_array_equal(code, DRIVING)
    code[:] = 9
    np.testing.assert_array_equal(transfer.apply(DRIVING), DRIVING)  # it was a copy


def test_codes_are_kept_as_copies() -> None:
    source, neutral = SOURCE.copy(), NEUTRAL.copy()
    transfer = MotionTransfer("relative")
    transfer.set_source(source)
    transfer.apply(neutral)
    source[:], neutral[:] = 100, 100
    np.testing.assert_allclose(transfer.apply(DRIVING), [[0.35, -0.45, 3.0]], rtol=1e-6)


def test_an_unknown_motion_is_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match="want one of relative, absolute, got 'both'"):
        MotionTransfer("both")  # type: ignore[arg-type]
