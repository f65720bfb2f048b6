"""What happens between two phases: renderers read changed encoders, dead units live again."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketportrait.contract import POSE, Array
from pocketportrait.distill.clips import Pairs
from pocketportrait.distill.handover import (
    encode,
    fitted_head,
    hand_over,
    reread,
    revive,
    revive_embedding,
)
from pocketportrait.models.student import Student

EXPRESSION = slice(len(POSE), None)


@pytest.fixture(scope="module")
def frames() -> Array:
    return np.random.default_rng(0).integers(0, 256, (120, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def student(tiny_student: Student) -> Student:
    return copy.deepcopy(tiny_student)


def drawn(student: Student, code_BK: Tensor, photo_B3HW: Tensor) -> Tensor:
    maps = student.appearance(photo_B3HW)
    image: Tensor = student.render(*maps, code_BK.float(), code_BK.roll(1, 0).float())
    return image


def turned(code_BK: Tensor, seed: int = 0) -> Tensor:
    """Return codes whose expressions say the same in other numbers."""
    rng = torch.Generator().manual_seed(seed)
    size = code_BK.shape[1] - len(POSE)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=code_BK.dtype))
    other = code_BK.clone()
    other[:, EXPRESSION] = 2 * code_BK[:, EXPRESSION] @ basis + 0.5
    return other


@torch.no_grad()
def test_a_renderer_draws_the_same_from_codes_told_in_other_numbers(
    student: Student, frames: Array
) -> None:
    was = encode(student.motion, frames)
    now = turned(was)
    photo = torch.rand(4, 3, 64, 64)
    before = drawn(student, was[:4], photo)
    lost = (drawn(student, now[:4], photo) - before).abs().max()
    assert reread(student.render, was, now) > 0.999
    kept = (drawn(student, now[:4], photo) - before).abs().max()
    assert kept < 1e-3 < lost


@torch.no_grad()
def test_codes_that_say_less_are_told_so(student: Student, frames: Array) -> None:
    was = encode(student.motion, frames)
    assert reread(student.render, was, torch.rand_like(was)) < 0.5


@torch.no_grad()
def test_revived_units_change_nothing_and_can_learn(student: Student, frames: Array) -> None:
    code = encode(student.motion, frames)
    second = student.render.embed[2]
    assert isinstance(second, nn.Linear)
    second.bias[:5] = -100.0
    photo = torch.rand(4, 3, 64, 64)
    before = drawn(student, code[:4], photo)
    done = revive_embedding(student.render, code, seed=1)
    assert done["revived_embedding"] >= 5
    assert torch.allclose(drawn(student, code[:4], photo), before, atol=1e-5)
    assert revive_embedding(student.render, code, seed=1)["revived_embedding"] == 0
    with torch.enable_grad():
        drawn(student, code[:4], photo).square().sum().backward()
    for reader in student.render.embedding_readers():
        assert reader.weight.grad is not None
        assert (reader.weight.grad[:, :5].abs().sum() > 0) or not reader.weight.grad.any()


def test_every_reader_of_the_embedding_is_known(student: Student) -> None:
    others = [
        *student.render.embed.modules(),
        student.render.flow.coarse_linear,
    ]  # these read codes
    found = [
        part
        for part in student.render.modules()
        if isinstance(part, nn.Linear) and not any(part is other for other in others)
    ]
    known = student.render.embedding_readers()
    assert {id(part) for part in known} == {id(part) for part in found}


def test_living_units_stay_as_they_are() -> None:
    layer, reader = nn.Linear(3, 4), nn.Linear(4, 2)
    with torch.no_grad():
        layer.bias[0], layer.bias[1:] = -100.0, 100.0
    was = layer.weight[1:].clone()
    x = torch.rand(50, 3)
    assert revive(layer, [reader], x, torch.Generator().manual_seed(0)) == 1
    assert torch.equal(layer.weight[1:], was)
    share = (layer(x)[:, 0] > 0).float().mean()
    assert 0.2 < share < 0.8


def test_without_another_encoder_only_dead_units_change(student: Student, frames: Array) -> None:
    done = hand_over(student, None, frames, seed=0)
    assert set(done) == {"revived_hidden", "revived_embedding"}


@torch.no_grad()
def test_a_head_is_fitted_to_codes_and_mirrored_faces_tell_no_shape() -> None:
    rng = torch.Generator().manual_seed(0)
    size = torch.logspace(-2, 1, 64)  # codes' numbers are not equally large
    code = torch.randn(400, 64, generator=rng) * size + 1
    blend, shape = (code / size @ torch.randn(64, n, generator=rng) / 8 + 0.3 for n in (52, 956))
    mirrored = torch.arange(400) % 4 == 0
    shape = torch.where(mirrored[:, None], 100.0, shape)
    none = np.zeros((200, 1), np.float32)
    pairs = Pairs(
        none, none, none, none, none, blend.numpy(), shape.numpy(), (~mirrored).float().numpy()
    )
    told_blend, told_shape = fitted_head(code, pairs)(code)
    assert (told_blend - blend).abs().mean() < 0.01 * blend.std()
    assert (told_shape - shape)[~mirrored].abs().mean() < 0.01 * shape[~mirrored].std()
