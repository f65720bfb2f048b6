"""X-NeMo's and PersonaLive's sampling: steps, windows, the blur at the start, squares around faces."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.face import FaceBox
from pocketportrait.models.teachers.xnemo_faces import face_crops, face_squares, smoothed_places
from pocketportrait.models.teachers.xnemo_sampling import (
    Schedule,
    blend,
    blurred,
    descent,
    windows,
)


def test_steps_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False,
        steps_offset=1,
    )  # fmt: skip
    theirs.set_timesteps(35)
    assert theirs.timesteps.tolist() == descent(35)
    random = torch.Generator().manual_seed(0)
    ours, latent = Schedule(), torch.randn(1, 4, 2, 4, 4, generator=random)
    start = theirs.add_noise(latent, torch.ones_like(latent), theirs.timesteps[:1])
    noised = ours.noised(latent, torch.ones_like(latent), torch.tensor(descent(35)[:1]))
    assert torch.allclose(noised, start, atol=1e-6)
    want = got = start
    for timestep in descent(35):
        noise = torch.randn(want.shape, generator=random)
        want = theirs.step(noise, timestep, want).prev_sample
        got = ours.step(got, noise, torch.tensor([timestep]), 1000 // 35)
    assert torch.allclose(got, want, rtol=1e-4, atol=1e-4)


def test_the_right_noise_leads_to_the_picture() -> None:
    schedule, random = Schedule(), torch.Generator().manual_seed(1)
    picture, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=random).unbind(0)
    latent = schedule.noised(picture, noise, torch.tensor([999]))
    for timestep in (999, 666, 333, 0):
        latent = schedule.step(latent, noise, torch.tensor([timestep]), 333)
    assert torch.allclose(latent, picture, atol=1e-3)


def test_frames_at_different_steps_go_their_own_way() -> None:
    schedule, random = Schedule(), torch.Generator().manual_seed(2)
    latent, noise = torch.randn(2, 1, 4, 3, 2, 2, generator=random).unbind(0)
    times = torch.tensor([0, 333, 999])
    together = schedule.step(latent, noise, times, 333)
    for frame in range(3):
        one = slice(frame, frame + 1)
        alone = schedule.step(latent[:, :, one], noise[:, :, one], times[one], 333)
        assert torch.equal(together[:, :, one], alone)


@pytest.mark.parametrize("frames", [25, 44, 60, 101])
@pytest.mark.parametrize("offset", [0, 7, 19, 23])
def test_windows_cover_all_frames_and_overlap(frames: int, offset: int) -> None:
    parts = windows(frames, 24, 4, offset)
    assert {len(part) for part in parts} == {24}
    assert set().union(*parts) == set(range(frames))
    for before, after in itertools.pairwise(parts):
        assert before.start < after.start <= before.stop - 4


def test_few_frames_are_one_window() -> None:
    assert windows(24, 24, 4, 5) == [range(24)]
    assert windows(1, 24, 4) == [range(1)]
    assert len(windows(44, 24, 4)) == 2


def test_where_windows_overlap_their_mean_counts() -> None:
    latent = torch.arange(5.0).view(1, 1, 5, 1, 1).expand(1, 2, 5, 3, 3)

    def predict(inside: Tensor, part: range) -> Tensor:
        return inside + 10 * part.start

    got = blend(latent, [range(3), range(2, 5)], predict)
    assert got[0, 0, :, 0, 0].tolist() == [0, 1, 12, 23, 24]


def test_the_blur_keeps_the_level_and_takes_the_detail() -> None:
    level = torch.full((1, 4, 12, 12), 0.7)
    assert torch.allclose(blurred(level), level, atol=1e-6)
    checks = (torch.arange(12)[:, None] + torch.arange(12)) % 2 * 2.0 - 1
    got = blurred(checks.expand(1, 4, -1, -1).contiguous())
    assert got.shape == (1, 4, 12, 12)
    assert got.abs().max() < 0.05


def test_squares_keep_the_first_side_and_follow_smoothly() -> None:
    boxes = [(100.0 + 10 * (index >= 30), 80.0, 50.0 + index) for index in range(60)]
    squares = face_squares(boxes)
    assert {round(square.side, 6) for square in squares} == {55.0}
    middles = [square.x + square.side / 2 for square in squares]
    assert middles[0] == pytest.approx(100, abs=1e-3)
    assert middles[-1] == pytest.approx(110, abs=1e-3)
    assert max(np.diff(middles)) < 1
    assert middles[29] + middles[30] == pytest.approx(210)


def test_a_still_face_is_not_moved_by_the_smoothing() -> None:
    places = np.tile([3.0, 4.0], (2, 1))
    assert smoothed_places(places, 5.0) == pytest.approx(places)


def test_a_lost_face_stays_where_it_was_and_the_first_must_be_there() -> None:
    squares = face_squares([(10.0, 10.0, 20.0), None, None])
    assert squares[0] == squares[2]
    assert face_squares([]) == []
    with pytest.raises(InputError, match="frame 0: want a face, got none"):
        face_squares([None, (10.0, 10.0, 20.0)])


def test_crops_are_of_the_largest_face() -> None:
    class Found:
        def detect(self, rgb: Array) -> list[FaceBox]:
            return [FaceBox(20, 20, 60, 60), FaceBox(0, 0, 5, 5)]

    picture = np.zeros((80, 80, 3), np.uint8)
    picture[20:60, 20:60] = 200
    (crop,) = face_crops([picture], Found(), 32)
    assert crop.shape == (32, 32, 3)
    assert crop[12:20, 12:20].min() == 200
