import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketportrait.contract import TensorSpec, image_spec
from pocketportrait.errors import InputError
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.tolerance import (
    FLOAT32_CEILING,
    Tolerance,
    arithmetic_of,
    noise_floor,
    tolerance_for,
)

CODE = TensorSpec("code", (1, 4), layout="NC")


def test_equal_tensors_are_at_best_parity() -> None:
    value = np.linspace(-3, 3, 7, dtype=np.float32)
    got = Parity.of(value, value)
    assert (got.max_abs, got.psnr_db) == (0.0, math.inf)
    assert got.cosine == pytest.approx(1.0)


def test_figures_are_those_of_the_definition() -> None:
    got = Parity.of(np.array([0.0, 2.0]), np.array([0.1, 2.0]))
    assert got.max_abs == pytest.approx(0.1)
    assert got.psnr_db == pytest.approx(10 * math.log10(4 / 0.005))  # peak is max - min
    image = Parity.of(np.array([0.0, 0.5]), np.array([0.1, 0.5]), peak=1.0)
    assert image.psnr_db == pytest.approx(10 * math.log10(1 / 0.005))


def test_a_difference_below_float32_is_seen() -> None:
    one = np.array([1.0, 2.0])
    assert Parity.of(one, one + 1e-12).max_abs == pytest.approx(1e-12, rel=1e-3)


def test_unequal_shapes_raise_and_are_never_broadcast() -> None:
    with pytest.raises(InputError, match=r"want equal shapes, got \(1, 3\) and \(3,\); transpose"):
        Parity.of(np.zeros((1, 3)), np.zeros(3))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_every_gate(bad: float) -> None:
    parity = Parity.of(np.ones(3), np.array([1.0, bad, 1.0]))
    assert Tolerance(max_abs=1e30).complaint(parity) == "the output holds NaN or infinity"
    assert Tolerance(psnr_db=-1e30).complaint(parity) is not None


@pytest.mark.parametrize("bad", [np.array([math.nan]), np.zeros(0)])
def test_a_reference_that_cannot_be_one_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="want a finite reference"):
        Parity.of(bad, bad)


def test_constant_and_zero_references_have_a_parity() -> None:
    assert Parity.of(np.zeros(3), np.zeros(3)).cosine == 1.0
    assert Parity.of(np.zeros(3), np.ones(3)) == Parity(1.0, 0.0, 0.0)
    assert Parity.of(np.full(3, 4.0), np.full(3, 3.0)).psnr_db == pytest.approx(12.04, abs=0.01)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.floats(1e-9, 1e3))
def test_more_error_is_never_better(values: list[float], error: float) -> None:
    reference = np.array(values)
    small, large = (Parity.of(reference, reference + e) for e in (error, 2 * error))
    assert small.max_abs <= large.max_abs
    assert small.psnr_db >= large.psnr_db
    assert small.worse(large) == Parity(
        large.max_abs, large.psnr_db, min(small.cosine, large.cosine)
    )


def test_the_noise_floor_tightens_a_gate_and_never_loosens_it() -> None:
    reference = np.array([[0.5, -0.5, 0.2, 0.1]])
    unknown = tolerance_for("float32", CODE, reference, None)
    quiet = tolerance_for("float32", CODE, reference, 1e-7)
    noisy = tolerance_for("float32", CODE, reference, 1.0)
    assert unknown.max_abs == noisy.max_abs == FLOAT32_CEILING
    assert 1e-7 < quiet.max_abs < FLOAT32_CEILING


def test_the_ceiling_grows_with_large_values_but_not_for_images() -> None:
    large = np.full((1, 4), 30.0)
    assert tolerance_for("float32", CODE, large, None).max_abs == pytest.approx(30e-4)
    image = image_spec("image", 64)
    assert tolerance_for("float32", image, large, None).max_abs == FLOAT32_CEILING


def test_half_precision_owes_50_db() -> None:
    gate = tolerance_for("float16", CODE, np.ones((1, 4)), 1e-7)
    assert gate.complaint(Parity(0.1, 50.0, 1.0)) is None
    assert gate.complaint(Parity(0.1, 49.9, 1.0)) == "PSNR 49.9 dB is below 50.0 dB"


def test_a_standard_name_binds_whatever_the_attributes_say() -> None:
    assert arithmetic_of("fp32", "int8", "int8") == "float32"
    assert arithmetic_of("fp16", "float16", "float32") == "float16"
    assert arithmetic_of("exact", "float32", "float32") == "float32"
    assert arithmetic_of("small", "float16", "float32") == "float16"
    assert arithmetic_of("w8a8", "int8", "int8") == "quantized"
    assert arithmetic_of("w4", "int4", "float32") == "int4"


def test_noise_floor_is_the_largest_difference() -> None:
    exact = np.array([0.1, 0.2])
    assert noise_floor(exact.astype(np.float32), exact) == pytest.approx(3e-9, rel=0.5)
