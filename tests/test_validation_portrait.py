"""The figures themselves, on pictures and faces whose answers are known."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.validation.portrait import DRIFT_FRAMES, SIDE_PX, Kind, PortraitTally, drift
from pocketportrait.validation.portrait_faces import FaceReading, FaceTally
from pocketportrait.validation.portrait_pixels import PixelTally, ssim
from pocketportrait.validation.temporal import FlickerTally, RunningCorrelation, forth_and_back


def flat(level: int) -> Array:
    return np.full((SIDE_PX, SIDE_PX, 3), level, np.uint8)


def face(shift: float = 0.0, *, jaw: float = 0.0, yaw: float = 0.0) -> FaceReading:
    points = np.random.default_rng(0).uniform(50, 200, (478, 2)) + np.array([shift, 0])
    blendshapes = np.full(52, 0.1)
    blendshapes[25] = jaw
    towards = np.array([1.0, shift / 100])
    identity = towards / np.linalg.norm(towards)
    return FaceReading(points, blendshapes, np.array([yaw, 0.0, 0.0]), identity)


class BrightnessReader:
    """Reads a face off a picture's brightness; a black picture has none."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self, picture: Array, *, identity: bool = False) -> FaceReading | None:
        self.asked += 1
        level = float(picture.mean())
        if not level:
            return None
        found = face(level / 10, jaw=level / 255, yaw=level / 5)
        return found if identity else replace(found, identity=None)


def tally(
    kind: Kind, photo: Array, pairs: list[tuple[Array, Array]], *, faces: bool = True
) -> dict[str, float]:
    clip = PortraitTally(kind, photo, BrightnessReader() if faces else None)
    for output, target in pairs:
        clip.add(output, target)
    return clip.figures()


def test_pixel_figures_of_a_known_difference() -> None:
    pixels = PixelTally()
    for index in range(4):
        pixels.add(index, flat(51), flat(102))
    figures = pixels.figures()
    assert figures["l1"] == pytest.approx(0.2)
    assert figures["psnr_db"] == pytest.approx(20 * np.log10(5), abs=1e-6)
    c1 = (0.01 * 255) ** 2  # of flat pictures only the brightness term is left
    assert figures["ssim"] == pytest.approx((2 * 51 * 102 + c1) / (51**2 + 102**2 + c1), abs=1e-9)


def test_equal_frames_are_100_db_and_fully_alike() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = PixelTally()
    pixels.add(0, picture, picture)
    assert pixels.figures() == {"l1": 0.0, "psnr_db": pytest.approx(100), "ssim": pytest.approx(1)}


def test_ssim_has_the_windows_of_a_box_filter_with_mirrored_borders() -> None:
    random = np.random.default_rng(1)
    one, other = random.integers(0, 256, (2, 24, 24, 3)).astype(np.float64)

    def mean(values: Array) -> Array:
        return np.asarray(cv2.blur(values, (7, 7)))

    a, b = mean(one), mean(other)
    spread = mean(one**2) - a**2 + mean(other**2) - b**2
    c1, c2 = 6.5025, 58.5225
    want = (2 * a * b + c1) * (2 * (mean(one * other) - a * b) + c2)
    want /= (a**2 + b**2 + c1) * (spread + c2)
    got = ssim(one.astype(np.uint8), other.astype(np.uint8))
    assert got == pytest.approx(want.mean(), abs=1e-9)


def test_only_each_third_frame_counts_for_ssim() -> None:
    pixels = PixelTally()
    pixels.add(0, flat(90), flat(90))
    pixels.add(1, flat(0), flat(255))
    assert pixels.figures()["ssim"] == pytest.approx(1)
    assert pixels.figures()["l1"] == pytest.approx(0.5)


def test_face_figures_of_a_known_face() -> None:
    faces = FaceTally(face(), relative=False)
    faces.add(face(3, jaw=0.5, yaw=6), face(0, jaw=0.2, yaw=0))
    figures = faces.figures()
    assert figures["akd_px"] == pytest.approx(3)
    assert figures["aed"] == pytest.approx(0.3)
    assert figures["apd_deg"] == pytest.approx(2)  # yaw alone, of three angles
    assert figures["csim"] == pytest.approx(np.cos(np.arctan(0.03)))
    assert figures["missing"] == 0


def test_across_people_only_what_changed_since_the_first_frame_counts() -> None:
    faces = FaceTally(face(), relative=True)
    for step in (0.0, 0.1, 0.2):
        faces.add(face(7, jaw=0.4 + step, yaw=30 + 10 * step), face(jaw=step, yaw=10 * step))
    figures = faces.figures()
    assert figures["aed"] == pytest.approx(0, abs=1e-9)
    assert figures["apd_deg"] == pytest.approx(0, abs=1e-9)
    assert "akd_px" not in figures


def test_a_correlation_needs_a_target_that_moves_and_an_output_that_follows() -> None:
    moving, still, lazy = (FaceTally(None, relative=False) for _ in range(3))
    for step in (0.0, 0.1, 0.3):
        moving.add(face(jaw=step / 2), face(jaw=step))
        still.add(face(jaw=step), face(jaw=step / 10))
        lazy.add(face(jaw=0.2), face(jaw=step))
    assert moving.figures()["corr_jaw"] == pytest.approx(1)
    assert "corr_jaw" not in still.figures()
    assert lazy.figures()["corr_jaw"] == 0


def test_lost_faces_are_counted_among_targets_that_have_one() -> None:
    faces = FaceTally(face(), relative=False)
    for output, target in ((None, face()), (face(), face()), (face(), None), (None, None)):
        faces.add(output, target)
    assert faces.figures()["missing"] == pytest.approx(0.5)
    assert faces.faces == 1


def test_without_any_face_only_missing_is_told() -> None:
    figures = tally("self", flat(0), [(flat(0), flat(90))] * 3)
    assert figures["missing"] == 1
    assert not {"akd_px", "aed", "csim", "akd_px_static"} & figures.keys()
    assert figures["l1"] == pytest.approx(90 / 255)


def test_repeating_the_photo_has_the_ratio_one_in_every_figure() -> None:
    random = np.random.default_rng(0)
    driver = [random.integers(60, 200, flat(0).shape).astype(np.uint8) for _ in range(4)]
    driver[2:] = [np.clip(frame + 30, 0, 255).astype(np.uint8) for frame in driver[2:]]
    figures = tally("self", driver[0], [(driver[0], frame) for frame in driver])
    rated = [name for name in figures if f"{name}_static" in figures]
    assert {"l1", "ssim", "akd_px", "aed", "apd_deg", "flicker_error"} <= set(rated)
    for name in rated:
        assert figures[name] == pytest.approx(figures[f"{name}_static"]), name
    assert figures["flicker"] == 0


def test_a_perfect_output_has_no_errors() -> None:
    driver = [flat(level) for level in (60, 90, 150, 200)]
    figures = tally("self", driver[0], [(frame, frame) for frame in driver])
    assert [figures[k] for k in ("l1", "akd_px", "aed", "apd_deg", "flicker_error")] == [0] * 5
    assert figures["flicker"] == pytest.approx(1)


def test_across_people_pixels_are_not_compared() -> None:
    figures = tally("cross", flat(50), [(flat(100), flat(110))] * 3)
    assert not {"l1", "psnr_db", "ssim", "flicker", "akd_px"} & figures.keys()
    assert {"aed", "apd_deg", "csim", "apd_deg_static"} <= figures.keys()


def test_without_a_reader_pixels_are_still_measured() -> None:
    figures = tally("self", flat(50), [(flat(60), flat(70))] * 3, faces=False)
    assert {"l1", "psnr_db", "ssim", "flicker", "l1_static"} <= figures.keys()
    assert not {"aed", "missing", "csim"} & figures.keys()


def test_frames_are_let_go_of() -> None:
    clip = PortraitTally("self", flat(50), BrightnessReader())
    seen = []
    for level in range(60, 72):
        output, target = flat(level), flat(level + 1)
        clip.add(output, target)
        seen += [weakref.ref(output), weakref.ref(target)]
    del output, target
    gc.collect()
    assert sum(ref() is not None for ref in seen) == 0


def test_a_running_correlation_is_that_of_the_whole_series() -> None:
    random = np.random.default_rng(3)
    one = random.normal(5, 2, 50)
    other = one + random.normal(0, 1, 50)
    running = RunningCorrelation()
    for a, b in zip(one, other, strict=True):
        running.add(a, b)
    assert running.value() == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert running.ranges == pytest.approx((np.ptp(one), np.ptp(other)))
    assert RunningCorrelation().ranges == (0, 0)


def test_flicker_sees_the_amount_and_its_error_the_place() -> None:
    flicker = FlickerTally()
    for index in range(4):
        output, target = flat(100), flat(100)
        output[100:120] += 10 * (index % 2)
        target[140:160] += 10 * (index % 2)
        flicker.add(output, target)
    figures = flicker.figures()
    assert figures["flicker"] == pytest.approx(1)
    assert figures["flicker_error"] == pytest.approx(2 * figures["flicker_error_static"])


def test_flicker_of_one_frame_is_not_told() -> None:
    flicker = FlickerTally()
    flicker.add(flat(1), flat(2))
    assert flicker.figures() == {}


@pytest.mark.parametrize(("length", "span"), [(7, 7), (60, 60), (125, 125), (1000, 125)])
def test_forth_and_back_ends_with_a_whole_pass(length: int, span: int) -> None:
    order = forth_and_back(length, DRIFT_FRAMES)
    assert order is not None
    played, last = order
    assert len(played) <= DRIFT_FRAMES
    assert len(played) > DRIFT_FRAMES - span
    assert list(played[:span]) == list(range(span))
    assert sorted(last) == list(range(span))
    assert set(np.abs(np.diff(played))) == {1}  # no frame is skipped or played twice


def test_a_clip_of_one_frame_cannot_turn() -> None:
    assert forth_and_back(1, DRIFT_FRAMES) is None
    assert drift(lambda frame: frame, [flat(9)], flat(9), None) == {}


def test_a_model_that_knows_only_photo_and_frame_does_not_drift() -> None:
    driver = [flat(60 + 7 * k) for k in range(5)]
    found = drift(lambda frame: frame // 2, driver, driver[0], BrightnessReader(), frames=20)
    assert found.keys() == {f"drift_{k}" for k in ("l1", "akd_px", "aed", "apd_deg", "csim")}
    assert set(found.values()) == {0.0}


def test_a_model_that_fades_drifts() -> None:
    driver = [flat(100 + 7 * k) for k in range(5)]
    drawn = 0

    def fading(frame: Array) -> Array:
        nonlocal drawn
        drawn += 1
        return frame - np.uint8(drawn)

    found = drift(fading, driver, driver[0], BrightnessReader(), frames=20)
    # passes of 5 frames that share their turning frames: the last begins 12 frames after the first
    assert found["drift_l1"] == pytest.approx(12 / 255)
    assert found["drift_akd_px"] == pytest.approx(1.2)
