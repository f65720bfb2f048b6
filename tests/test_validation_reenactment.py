import pytest

from pocketportrait.errors import InputError
from pocketportrait.validation.reenactment import (
    CONVINCES,
    Gate,
    cross_gates,
    other_figures,
    ratio_to_repeating,
    reenactment_gates,
)


def row(scale: float, **more: float) -> dict[str, float]:
    still = {"l1_static": 0.1, "akd_px_static": 10.0, "aed_static": 2.0, "apd_deg_static": 3.0}
    moved = {key.removesuffix("_static"): value * scale for key, value in still.items()}
    rest = {"csim": 0.8, "flicker": 1.0, "psnr_db": 25.0, "ssim": 0.8, "missing": 0.0}
    return still | moved | rest | more


def test_a_ratio_is_that_of_the_means_not_a_mean_of_ratios() -> None:
    rows = [{"l1": 0.1, "l1_static": 0.1}, {"l1": 0.1, "l1_static": 0.3}]
    assert ratio_to_repeating(rows, "l1") == pytest.approx(0.5)


def test_repeating_the_photo_passes_nothing() -> None:
    gates = reenactment_gates([row(1.0, corr_jaw=0.0, corr_blink=0.0, corr_yaw=0.0)])
    assert [g.passed for g in gates] == [False] * 6 + [True]


def test_a_good_student_passes_every_gate() -> None:
    gates = reenactment_gates([row(0.3, corr_jaw=0.9, corr_blink=0.8, corr_yaw=0.95)] * 3)
    assert [g.passed for g in gates] == [True] * 7
    assert other_figures([row(0.3)])["apd_deg_ratio"] == pytest.approx(0.3)


def test_to_convince_asks_for_more_than_to_perform() -> None:
    rows = [row(0.7, corr_jaw=0.8, corr_blink=0.7, corr_yaw=0.9)]
    assert [g.passed for g in reenactment_gates(rows, CONVINCES)] == [False] * 7 + [True]
    rows = [row(0.2, corr_jaw=0.9, corr_blink=0.8, corr_yaw=0.95)]
    assert all(g.passed for g in reenactment_gates(rows, CONVINCES))


def test_strangers_must_follow_the_driver_and_stay_who_they_are() -> None:
    themselves = [row(0.3, csim=0.8)]
    assert all(g.passed for g in cross_gates([row(0.3, csim=0.7)], themselves))
    assert [g.passed for g in cross_gates([row(0.5, csim=0.5)], themselves)] == [False, True, False]
    assert not any(g.passed for g in cross_gates([row(1.0, csim=0.5)], themselves))


def test_correlations_are_medians_over_the_clips_that_have_them() -> None:
    rows = [row(0.3, corr_jaw=v) for v in (0.1, 0.8, 0.9)] + [row(0.3)]
    jaw = next(g for g in reenactment_gates(rows) if g.figure == "corr_jaw median")
    assert (jaw.value, jaw.clips, jaw.passed) == (0.8, 3, True)


def test_a_correlation_that_no_clip_has_is_a_failed_gate() -> None:
    yaw = next(g for g in reenactment_gates([row(0.3)]) if g.figure == "corr_yaw median")
    assert (yaw.value, yaw.clips, yaw.passed) == (0.0, 0, False)


def test_clips_without_faces_are_refused() -> None:
    with pytest.raises(InputError, match="want clips with l1, got none of them"):
        ratio_to_repeating([{"missing": 1.0}], "l1")


def test_losing_the_face_does_not_pass_for_skill() -> None:
    lost = row(0.3, missing=0.9)
    assert not reenactment_gates([lost])[-1].passed
    del lost["akd_px"]  # a clip without a single face in the output
    assert ratio_to_repeating([lost, row(0.3)], "akd_px") == pytest.approx(0.3)


def test_a_gate_reads_as_one_line() -> None:
    assert Gate("l1 ratio", 0.7, 0.7, True, 28).line() == (
        "PASS  l1 ratio                   0.700 <= 0.70  (28 clips)"
    )
