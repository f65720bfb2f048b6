"""LivePortrait's networks: the published names exactly, and the golden numbers."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers import liveportrait_golden
from pocketportrait.models.teachers.formula import formula_input, formula_weights, uniform
from pocketportrait.models.teachers.golden import TOLERANCE, places, read_golden
from pocketportrait.models.teachers.liveportrait import (
    LivePortrait,
    LivePortraitOptions,
    Networks,
)
from pocketportrait.models.teachers.liveportrait_appearance import AppearanceExtractor
from pocketportrait.models.teachers.liveportrait_generator import SpadeGenerator
from pocketportrait.models.teachers.liveportrait_keypoints import (
    Pose,
    absolute,
    degrees,
    pose,
    relative,
    rotation,
)
from pocketportrait.models.teachers.liveportrait_motion import KEYPOINTS, Motion, MotionExtractor
from pocketportrait.models.teachers.liveportrait_stitching import (
    eye_network,
    lip_network,
    stitching_network,
)
from pocketportrait.models.teachers.liveportrait_warp import Warped, WarpingModule
from pocketportrait.models.teachers.protocol import EncodingTeacher, Teacher

GOLDEN = Path(__file__).parent / "golden" / "liveportrait"
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "appearance_feature_extractor": AppearanceExtractor,
    "motion_extractor": MotionExtractor,
    "warping_module": WarpingModule,
    "spade_generator": SpadeGenerator,
    "stitching": stitching_network,
    "lip": lip_network,
    "eye": eye_network,
}


@pytest.fixture(scope="module")
def published() -> dict[str, list[list[Any]]]:
    keys: dict[str, list[list[Any]]] = json.loads(
        gzip.decompress((GOLDEN / "keys.json.gz").read_bytes())
    )
    return keys


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "formula.json").read_text())
    return found


@pytest.mark.parametrize("name", BUILDERS)
def test_names_shapes_and_types_are_those_of_the_published_checkpoint(
    name: str,
    published: dict[str, list[list[Any]]],
    names_of: Callable[..., set[tuple[str, tuple[int, ...], str]]],
) -> None:
    wanted = {(key, tuple(shape), dtype) for key, shape, dtype in published[name]}
    assert names_of(BUILDERS[name]) == wanted


def test_the_formula_gives_the_published_test_vectors(vectors: dict[str, Any]) -> None:
    assert uniform("first.conv.weight", 4).tolist() == vectors["uniform"]
    for one in vectors["weights"]:
        like = {one["key"]: torch.empty(one["shape"], device="meta")}
        if one["key"].endswith("weight_orig"):
            like[one["key"].replace("_orig", "_u")] = torch.empty(one["shape"][0], device="meta")
        got = formula_weights(like)[one["key"]].double().flatten()
        assert got[:4].tolist() == one["first4"]
        assert got[-1].item() == one["last"]
        assert got.sum().item() == pytest.approx(one["sum_f64"], rel=1e-9)
        assert got.norm().item() == pytest.approx(one["l2_f64"], rel=1e-9)
    for one in vectors["inputs"]:
        got = formula_input(one["name"], tuple(one["shape"]), one["lo"], one["hi"]).flatten()
        assert got[:4].tolist() == one["first4"]
        assert got.double().sum().item() == pytest.approx(one["sum_f64"], rel=1e-9)


def test_the_formula_does_not_depend_on_how_it_is_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = uniform("a.weight", 1000)
    monkeypatch.setattr("pocketportrait.models.teachers.formula._CHUNK", 7)
    assert np.array_equal(uniform("a.weight", 1000), whole)


def worst(outputs: Iterator[tuple[str, Tensor]]) -> dict[str, float]:
    golden = read_golden("liveportrait")
    return {name: golden[name].difference(value.numpy()) for name, value in outputs}


def test_motion_keypoints_and_appearance_meet_the_golden_outputs() -> None:
    found = worst(liveportrait_golden.golden_outputs(pictures=False))
    assert len(found) == 30
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.slow
def test_warp_generator_and_the_whole_chain_meet_the_golden_outputs() -> None:
    found = worst(liveportrait_golden.golden_outputs())
    assert found.keys() == read_golden("liveportrait").keys()
    assert max(found.values()) < TOLERANCE, found


def test_golden_outputs_notice_a_fault() -> None:
    golden = read_golden("liveportrait")["chain.x_s"]
    assert golden.shape == (1, KEYPOINTS, 3)
    right = golden.values.reshape(golden.shape)
    assert golden.difference(right) == 0
    assert golden.difference(-right) == pytest.approx(2)
    assert golden.difference(right[:, ::-1]) > TOLERANCE
    assert golden.difference(right * np.float32(1.001)) > TOLERANCE
    with pytest.raises(InputError, match=r"want shape \[1, 21, 3\], got \[1, 63\]"):
        golden.difference(right.reshape(1, -1))


def test_places_are_spread_over_the_whole_tensor() -> None:
    assert places(5).tolist() == [0, 1, 2, 3, 4]
    assert len(places(10**6)) == 4096
    assert places(10**6)[-1] > 999_000


def test_costs_are_those_measured_on_the_published_networks() -> None:
    want = {
        "appearance": 64.114130944,
        "motion": 11.637436416,
        "warping": 342.071443456,
        "generator": 891.574812672,
    }
    assert liveportrait_golden.gflop() == pytest.approx(want, rel=1e-9)


def test_a_bin_is_three_degrees() -> None:
    logits = torch.full((2, 66), -1e9)
    logits[0, 0] = logits[1, 65] = 0
    assert degrees(logits).tolist() == [-97.5, 97.5]


def test_points_are_turned_as_rows() -> None:
    point = torch.tensor([[[1.0, 0.0, 0.0]]])
    about_z = rotation(torch.tensor([[0.0, 0.0, 90.0]]))
    assert torch.allclose(point @ about_z, torch.tensor([[[0.0, 1.0, 0.0]]]), atol=1e-6)
    any_turn = rotation(torch.tensor([[10.0, -20.0, 30.0]]))
    assert torch.allclose(any_turn @ any_turn.transpose(1, 2), torch.eye(3), atol=1e-6)


def a_pose(seed: int) -> Pose:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    return pose(
        Motion(
            pitch=draw(1, 66), yaw=draw(1, 66), roll=draw(1, 66), t=draw(1, 3),
            exp=draw(1, 63), scale=1 + draw(1, 1).abs(), kp=draw(1, 63),
        )
    )  # fmt: skip


def test_relative_motion_of_the_neutral_frame_is_no_motion() -> None:
    source, driver = a_pose(0), a_pose(1)
    still = relative(source, driver, driver)
    assert torch.allclose(still.keypoints(), source.keypoints(), atol=1e-5)


def test_relative_motion_is_the_drivers_difference_to_its_neutral_frame() -> None:
    source, driver, neutral = a_pose(0), a_pose(1), a_pose(2)
    moved = relative(source, driver, neutral)
    assert torch.equal(moved.canonical_BK3, source.canonical_BK3)
    assert torch.allclose(
        moved.expression_BK3 - source.expression_BK3, driver.expression_BK3 - neutral.expression_BK3,
        atol=1e-5,
    )  # fmt: skip
    assert torch.allclose(
        moved.scale_B1 / source.scale_B1, driver.scale_B1 / neutral.scale_B1, atol=1e-5
    )
    assert moved.translation_B3[0, 2] == 0


def test_absolute_motion_takes_the_named_keypoints_and_axes_only() -> None:
    source, driver = a_pose(0), a_pose(1)
    moved = absolute(source, driver)
    taken = (moved.expression_BK3 == driver.expression_BK3)[0]
    assert taken.sum() == 13 * 3 + 6
    assert taken[[1, 2, 6, *range(11, 21)]].all()
    assert taken[3].tolist() == taken[4].tolist() == [False, True, False]
    assert taken[5].tolist() == taken[8].tolist() == [False, False, True]
    assert taken[9].tolist() == [False, True, True]
    assert torch.equal(moved.expression_BK3[0][~taken], source.expression_BK3[0][~taken])
    assert torch.equal(moved.rotation_B33, driver.rotation_B33)


class SmallMotion(nn.Module):
    """Reads an angle, an expression and the scale from a picture's mean."""

    def forward(self, picture: Tensor) -> Motion:
        mean = picture.mean()
        bins = torch.zeros(1, 66)
        bins[0, int(mean * 65)] = 20.0
        level = torch.zeros(1, 66)
        points = torch.linspace(-0.5, 0.5, 63)[None]
        return Motion(
            pitch=level, yaw=bins, roll=level, t=torch.full((1, 3), 0.1),
            exp=0.1 * mean * torch.ones(1, 63), scale=torch.ones(1, 1), kp=points,
        )  # fmt: skip


class SmallWarp(nn.Module):
    """Remembers the keypoints; the picture is how far they went."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, volume: Tensor, to: Tensor, start: Tensor) -> Warped:
        self.seen.append((to, start))
        far = (to - start).abs().mean().view(1, 1, 1, 1)
        return Warped(far, far, far.expand(1, 1, 64, 64))


class Widened(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.repeat(1, 3, 8, 8)


class Offsets(nn.Module):
    """Returns the same offset for every number."""

    def __init__(self, count: int, offset: float) -> None:
        super().__init__()
        self.count, self.offset = count, offset
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return torch.full((1, self.count), self.offset)


def small_teacher(**options: Any) -> tuple[LivePortrait, Networks]:
    networks = Networks(
        nn.Identity(), SmallMotion(), SmallWarp(), Widened(),
        Offsets(65, 0.01), Offsets(63, 0.0), Offsets(63, 0.5),
    )  # fmt: skip
    return LivePortrait(networks, options=LivePortraitOptions(**options)), networks


def grey(level: int) -> Array:
    return np.full((256, 256, 3), level, np.uint8)


def test_the_teacher_is_a_teacher_with_codes() -> None:
    teacher, _ = small_teacher()
    assert isinstance(teacher, Teacher)
    assert isinstance(teacher, EncodingTeacher)
    assert teacher.fingerprint != small_teacher(multiplier=0.5)[0].fingerprint


def test_the_first_frame_is_the_neutral_one() -> None:
    teacher, _ = small_teacher(stitching=False)
    pictures = list(teacher.animate(grey(100), [grey(140), grey(180), grey(140)]))
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 3
    assert pictures[0].max() == 0
    assert pictures[1].min() > 0
    assert np.array_equal(pictures[2], pictures[0])


def test_absolute_motion_moves_with_the_first_frame() -> None:
    teacher, _ = small_teacher(stitching=False, motion="absolute")
    assert next(teacher.animate(grey(100), [grey(140)])).min() > 0


def test_stitching_the_lips_and_the_multiplier_add_up() -> None:
    teacher, networks = small_teacher(multiplier=0.5)
    list(teacher.animate(grey(100), [grey(140)], lip_ratio=0.2))
    to, start = networks.warping.seen[0]
    # half of: 0.01 of each keypoint, 0.01 more of x and y, and 0.5 of the lips
    assert torch.allclose(to - start, torch.tensor([0.26, 0.26, 0.255]), atol=1e-5)
    assert networks.stitching.seen[0].shape == (1, 126)
    assert networks.lip.seen[0][0, 63:].tolist() == pytest.approx([0.2, 0.0])


def test_closed_lips_are_left_alone() -> None:
    teacher, networks = small_teacher()
    list(teacher.animate(grey(100), [grey(140)], lip_ratio=0.02))
    assert networks.lip.seen == []


def test_frames_are_taken_one_at_a_time() -> None:
    teacher, _ = small_teacher()

    def frames() -> Iterator[Array]:
        yield grey(1)
        raise AssertionError("the second frame was asked for before the first was drawn")

    assert next(teacher.animate(grey(100), frames())).shape == (256, 256, 3)


def test_codes_are_pose_then_expression() -> None:
    teacher, _ = small_teacher()
    codes = teacher.encode([grey(0), grey(255)])
    assert codes.shape == (2, 69)
    assert codes.dtype == np.float32
    assert codes[:, 0] == pytest.approx([math.radians(-97.5), math.radians(97.5)], abs=1e-4)
    assert codes[:, 1:3] == pytest.approx(0, abs=1e-6)
    assert codes[:, 3:5] == pytest.approx(0.1)
    assert codes[:, 5] == pytest.approx(0)
    assert codes[1, 6:] == pytest.approx(0.1)
    assert teacher.encode([]).shape == (0, 69)


@pytest.mark.parametrize(
    "picture", [np.zeros((512, 512, 3), np.uint8), np.zeros((256, 256, 3), np.float32)]
)
def test_other_pictures_are_refused(picture: Array) -> None:
    teacher, _ = small_teacher()
    with pytest.raises(InputError, match=r"photo: want uint8 \[256, 256, 3\], got"):
        next(teacher.animate(picture, [grey(0)]))
    with pytest.raises(InputError, match=r"frame 0: want uint8"):
        next(teacher.animate(grey(0), [picture]))


def test_pictures_that_are_not_numbers_are_refused() -> None:
    teacher, networks = small_teacher()
    networks.lip.offset = float("nan")
    with pytest.raises(InputError, match="got NaN"):
        next(teacher.animate(grey(0), [grey(0)], lip_ratio=1.0))
