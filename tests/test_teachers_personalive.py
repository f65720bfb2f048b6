"""PersonaLive: drawn keypoints, the stream of windows, and the teacher with small networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

pytest.importorskip("diffusers")  # the extra `teachers`

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers import personalive
from pocketportrait.models.teachers.liveportrait_keypoints import Pose, rotation
from pocketportrait.models.teachers.liveportrait_motion import KEYPOINTS, Motion
from pocketportrait.models.teachers.personalive import PersonaLive, PersonaLiveOptions
from pocketportrait.models.teachers.personalive_pose import (
    DRAWN,
    PoseGuider,
    approach,
    cut_faces,
    drawn,
    driven,
    face_boxes,
    rigid,
)
from pocketportrait.models.teachers.personalive_stream import (
    LEAD,
    TIMESTEPS,
    WINDOW,
    Keyframes,
    Told,
    stream,
)
from pocketportrait.models.teachers.protocol import EncodingTeacher
from pocketportrait.models.teachers.xnemo_golden import formula_state
from pocketportrait.models.teachers.xnemo_layers import Bank, UNetDims
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import Sizes, build_clip, build_picture_vae
from pocketportrait.models.teachers.xnemo_sampling import Schedule
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet


def a_pose(yaw: float = 0.0, x: float = 0.0, scale: float = 1.0) -> Pose:
    angles = torch.tensor([[0.0, yaw, 0.0]])
    points = torch.stack(
        [torch.linspace(-0.4, 0.4, KEYPOINTS), torch.linspace(-0.3, 0.5, KEYPOINTS),
         torch.zeros(KEYPOINTS)], 1
    )  # fmt: skip
    return Pose(
        angles, rotation(angles), torch.tensor([[x, 0.0, 0.0]]),
        torch.ones(1, KEYPOINTS, 3), torch.tensor([[scale]]), points[None],
    )  # fmt: skip


def test_discs_have_their_keypoints_colour_and_place() -> None:
    points = torch.full((1, KEYPOINTS, 3), -3.0)  # outside
    points[0, DRAWN[0]] = 0.0
    points[0, DRAWN[4], :2] = torch.tensor([0.5, -0.5])
    picture = drawn(points, 64)[0]
    assert picture[:, 32, 32].tolist() == [1, 0, 0]
    assert picture[:, 16, 48].tolist() == [0, 0, 1]
    assert picture[1].sum() == 0
    assert drawn(points, 512)[0, 0].sum() == 49  # whole pixels within 4 of a middle


def test_a_guider_is_an_eighth_of_the_picture() -> None:
    guider = PoseGuider(32)
    with torch.inference_mode():
        features = guider(torch.zeros(2, 3, 3, 64, 64))
    assert features.shape == (2, 32, 3, 8, 8)


def test_the_driver_gives_rotation_and_half_its_way_and_no_expression() -> None:
    photo, first, later = a_pose(x=0.1), a_pose(x=0.5), a_pose(yaw=20, x=0.9, scale=3)
    still = rigid(driven(photo, first, first))
    assert torch.allclose(still, rigid(photo))
    moved = driven(photo, later, first)
    assert torch.equal(moved.rotation_B33, later.rotation_B33)
    assert moved.translation_B3[0, 0].item() == pytest.approx(0.3)
    assert moved.scale_B1.item() == 1
    assert torch.equal(rigid(moved), rigid(moved._replace(expression_BK3=torch.zeros(1, 21, 3))))


def test_the_lead_starts_at_the_photo_and_ends_before_the_driver() -> None:
    photo, first = a_pose(), a_pose(yaw=24, x=0.7)
    lead = approach(photo, first, LEAD)
    assert lead.angles_B3[:, 1].tolist() == pytest.approx([2.0 * index for index in range(12)])
    assert torch.allclose(rigid(lead)[0], rigid(photo)[0], atol=1e-6)


def test_a_face_square_stands_on_the_keypoints() -> None:
    points = torch.zeros(1, KEYPOINTS, 3)
    points[0, DRAWN[0], 1] = -0.35  # the topmost; the middle is 0.05 above the centre
    ((left, top, right, bottom),) = face_boxes(points, 512).tolist()
    # heights in pixels: 256, and 166 for the topmost; side 3.4 x (243.1 - 166)
    assert (left, right) == (131, 393)
    assert (top, bottom) == (118, 380)
    faces = cut_faces(torch.zeros(1, 3, 512, 512), torch.tensor([[0, 0, 9, 5]]), 32)
    assert faces.shape == (1, 3, 32, 32)
    with pytest.raises(InputError, match="picture 0: want a face in it"):
        cut_faces(torch.zeros(1, 3, 512, 512), torch.tensor([[5, 5, 5, 9]]), 32)


def told(index: int) -> Told:
    """Return what is told of one window: its number everywhere."""
    return Told(torch.full((1, WINDOW, 2, 2), float(index)), torch.zeros(1, 1, WINDOW, 2, 2))


def test_four_steps_lead_to_the_picture_and_the_lead_is_dropped() -> None:
    """A network that knows the picture: its pixels are the number of their window."""
    schedule, seen = Schedule(), []

    def denoise(latent: Tensor, times: Tensor, of: Told, bank: Bank) -> Tensor:
        seen.append((times.tolist(), of.motion_1FTC[0, :, 0, 0].tolist()))
        kept = schedule.kept[times].view(1, 1, -1, 1, 1)
        picture = of.motion_1FTC[:, :, 0, 0].view(1, 1, -1, 1, 1)
        return (latent - kept.sqrt() * picture) / (1 - kept).sqrt()

    keyframes = Keyframes(torch.zeros(1, 2, 2), ())
    random = torch.Generator().manual_seed(0)
    windows = (told(index) for index in range(8))
    got = list(stream(torch.ones(1, 4, 2, 2), windows, keyframes, denoise, lambda _: (), random))
    # three lead, five are asked for, of which three only push
    assert len(got) == 2
    for window, latent in zip((3, 4), got, strict=True):
        assert latent.shape == (1, 4, WINDOW, 2, 2)
        assert torch.allclose(latent, torch.tensor(float(window)), atol=0.01)
    assert len(seen) == 5
    assert seen[0][0] == [time for time in TIMESTEPS for _ in range(WINDOW)]
    assert seen[1][1] == [float(window) for window in (1, 2, 3, 4) for _ in range(WINDOW)]


def test_keyframes_are_few_late_and_far_from_each_other() -> None:
    keyframes = Keyframes(torch.zeros(1, 2, 2), (torch.zeros(1, 5, 3),))
    far = functools.partial(torch.full, (1, 2, 2))
    assert not any(keyframes.wants(far(100.0)) for _ in range(9))
    assert not keyframes.wants(far(8.0))  # 16 away
    assert keyframes.wants(far(9.0))
    assert not keyframes.wants(far(9.0))
    assert keyframes.wants(far(50.0))
    assert keyframes.wants(far(100.0))
    assert not keyframes.wants(far(200.0))
    keyframes.add((torch.ones(1, 4, 3),))
    assert keyframes.bank[0].shape == (1, 9, 3)


class SmallPose(nn.Module):
    """Reads the yaw and the place from a picture's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("idx_tensor", torch.arange(66.0))
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, picture: Tensor) -> Motion:
        mean = picture.mean((1, 2, 3))[:, None] * self.gain
        level, points = torch.zeros(len(mean), 66), a_pose().canonical_BK3.flatten(1)
        return Motion(
            pitch=level, yaw=level + 5 * mean * torch.linspace(-1, 1, 66), roll=level,
            t=0.1 * mean.expand(-1, 3), exp=torch.zeros(len(mean), 63),
            scale=torch.ones_like(mean), kp=points.expand(len(mean), -1),
        )  # fmt: skip


SIZES = Sizes(
    MotionDims(side=64, stem=16, attention=64, heads=2, landmarks=4, code=32, token=4, box=0),
    UNetDims(channels=(32, 64), layers=1, heads=2, context=16, motion=4),
    vae_widths=(32, 32, 32, 32),
    clip_width=32, clip_layers=1, clip_heads=2, clip_side=28,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(personalive, "PoseExtractor", SmallPose)
    with torch.device("meta"):
        built = {
            "motion_encoder": MotionEncoder(SIZES.motion),
            "reference_unet": ReferenceUNet(SIZES.unet),
            "denoising_unet": DenoisingUNet(SIZES.unet),
            "pose_guider": PoseGuider(32),
            "vae/diffusion_pytorch_model": build_picture_vae(SIZES),
            "image_encoder/model": build_clip(SIZES),
        }
    states = {name: formula_state(network.state_dict()) for name, network in built.items()}
    whole = states["denoising_unet"]
    moved = [key for key in whole if "temporal_modules" in key]
    states["temporal_module"] = {key: whole.pop(key) for key in moved}
    states["motion_extractor"] = {"gain": torch.ones(1)}
    for name, state in states.items():
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_file(state, path)
    return tmp_path


def open_small(folder: Path, seed: int = 0) -> PersonaLive:
    return PersonaLive.open(folder, options=PersonaLiveOptions(64, seed), sizes=SIZES)


def grey(level: int) -> Array:
    return np.full((256, 256, 3), level, np.uint8)


def test_a_picture_a_frame_and_the_same_ones_again(folder: Path) -> None:
    teacher = open_small(folder)
    assert isinstance(teacher, EncodingTeacher)
    assert teacher.summary.startswith("8 checkpoints")
    assert teacher.summary.endswith("4 steps at 64 px")

    def run() -> Iterator[Array]:
        return teacher.animate(grey(120), [grey(100 + 10 * index) for index in range(5)])

    pictures = list(run())
    assert [(one.shape, one.dtype) for one in pictures] == [((256, 256, 3), np.uint8)] * 5
    assert all(np.array_equal(*pair) for pair in zip(pictures, run(), strict=True))
    assert teacher.fingerprint != open_small(folder, seed=1).fingerprint
    assert list(teacher.animate(grey(120), [])) == []


def test_codes_are_pose_then_motion_tokens(folder: Path) -> None:
    teacher = open_small(folder)
    codes = teacher.encode([grey(50), grey(200)])
    assert codes.shape == (2, 6 + 32)
    assert codes[0, 0] < codes[1, 0]  # yaw
    assert codes[:, 3] == pytest.approx([0.1 * 50 / 255, 0.1 * 200 / 255], abs=1e-6)
    assert codes[:, 5] == pytest.approx(0)
    assert teacher.encode([]).shape == (0, 518)


def test_missing_and_unexpected_keys_are_named(folder: Path) -> None:
    path = folder / "motion_extractor.safetensors"
    save_file({"gains": torch.ones(1)}, path)
    with pytest.raises(InputError) as error:
        open_small(folder)
    assert "motion_extractor.safetensors: 1 of 2 keys missing (gain), 1 unexpected (gains)" in str(
        error.value
    )
    path.unlink()
    with pytest.raises(InputError, match=r"want motion_extractor\.pth"):
        open_small(folder)


def test_a_side_that_cannot_be_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="want a multiple of 64 px, got 100"):
        PersonaLive.open(folder, options=PersonaLiveOptions(100), sizes=SIZES)
