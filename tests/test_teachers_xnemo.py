"""X-NeMo's networks: the published names exactly, the golden numbers, and how the photo is looked at."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("diffusers")  # the extra `teachers`

from pocketportrait.models.teachers import xnemo_cost, xnemo_golden
from pocketportrait.models.teachers.golden import TOLERANCE, read_golden
from pocketportrait.models.teachers.personalive_pose import PoseExtractor, PoseGuider
from pocketportrait.models.teachers.xnemo_attention import interleaved_rows, position_rows
from pocketportrait.models.teachers.xnemo_layers import UNetDims
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder, grid_positions
from pocketportrait.models.teachers.xnemo_networks import Sizes, build_video_vae
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet, token_blocks

KEYS = Path(__file__).parent / "golden" / "xnemo" / "keys.json.gz"
SMALL = UNetDims(channels=(32, 64), layers=1, heads=2, context=16, motion=4)
FRAMES = 3


def video_vae() -> nn.Module:
    return build_video_vae(Sizes())


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "xnemo/motion_encoder": MotionEncoder,
    "xnemo/reference_unet": ReferenceUNet,
    "xnemo/denoising_unet": DenoisingUNet,
    "xnemo/vae_svd_temporal_decoder": video_vae,
    "personalive/motion_encoder": xnemo_golden.personalive_encoder,
    "personalive/motion_extractor": PoseExtractor,
    "personalive/pose_guider": PoseGuider,
}


@pytest.fixture(scope="module")
def published() -> dict[str, list[list[Any]]]:
    keys: dict[str, list[list[Any]]] = json.loads(gzip.decompress(KEYS.read_bytes()))
    return keys


def test_every_published_list_is_compared(published: dict[str, list[list[Any]]]) -> None:
    assert published.keys() == BUILDERS.keys()


@pytest.mark.parametrize("name", BUILDERS)
def test_names_shapes_and_types_are_those_of_the_published_checkpoint(
    name: str,
    published: dict[str, list[list[Any]]],
    names_of: Callable[..., set[tuple[str, tuple[int, ...], str]]],
) -> None:
    wanted = {(key, tuple(shape), dtype) for key, shape, dtype in published[name]}
    assert names_of(BUILDERS[name]) == wanted


def worst(outputs: Iterator[tuple[str, Tensor]]) -> dict[str, float]:
    golden = read_golden("xnemo")
    return {name: golden[name].difference(value.numpy()) for name, value in outputs}


def test_motion_tokens_of_a_frame_meet_the_golden_output() -> None:
    faces, boxes = xnemo_golden.motion_inputs()
    encoder = xnemo_golden.formula_network(MotionEncoder)
    with torch.inference_mode():
        tokens = encoder(faces[:, :, :1], boxes[:, :1])[0]
    golden = read_golden("xnemo")["motion.single_frame"]
    assert golden.difference(tokens.numpy()) < TOLERANCE
    assert golden.difference(tokens.flip(1).numpy()) > TOLERANCE


@pytest.mark.slow
def test_all_motion_outputs_meet_the_golden_ones() -> None:
    found = worst(xnemo_golden.golden_outputs(unets=False))
    assert len(found) == 3
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.slow
def test_personalives_encoder_has_the_same_body() -> None:
    found = worst(xnemo_golden.shared_outputs(unets=False))
    assert found.keys() == {"motion.face_latent_512"}
    assert max(found.values()) < TOLERANCE, found


def test_golden_files_name_every_output_of_the_networks() -> None:
    names = read_golden("xnemo").keys()
    blocks = {f"reference.bank.{block}" for block in token_blocks(UNetDims())}
    assert len(blocks) == 16
    assert blocks < names
    assert {f"denoising.mid.{place}" for place in xnemo_golden.INNER} < names
    assert len(names) == 3 + 1 + 16 + 2 + 9
    assert read_golden("personalive").keys() < names


@pytest.mark.slow
def test_costs_are_those_measured_on_the_published_networks() -> None:
    alone, looking = xnemo_cost.denoising_gflop()
    assert alone == pytest.approx(1353.98, rel=1e-3)
    assert looking == pytest.approx(1502.06, rel=1e-3)
    cost = xnemo_cost.xnemo_gflop()
    assert cost["reference"] == pytest.approx(796.75, rel=1e-4)
    assert cost["encode"] == pytest.approx(1116.66, rel=1e-3)
    assert cost["decode"] == pytest.approx(3042.81, rel=1e-3)
    assert cost["denoising"] == pytest.approx((alone + looking) * 35 * 24 / 20)
    assert xnemo_cost.personalive_gflop()["denoising"] == pytest.approx(4 * looking)


def test_positions_are_sines_then_cosines_and_in_time_side_by_side() -> None:
    apart, beside = position_rows(5, 6), interleaved_rows(5, 6)
    assert torch.equal(apart[:, :3], beside[:, ::2])
    assert torch.equal(apart[:, 3:], beside[:, 1::2])
    assert torch.allclose(apart[2, :2], torch.sin(torch.tensor([2.0, 2 * 10000 ** (-1 / 3)])))


def test_a_places_first_half_is_its_column() -> None:
    grid = grid_positions(3, 4, 8).view(3, 4, 8)
    assert torch.equal(grid[0, :, :4], grid[2, :, :4])
    assert torch.equal(grid[:, 0, 4:], grid[:, 3, 4:])
    assert not torch.equal(grid[0, 0, :4], grid[0, 1, :4])


def small_encoder(box: int) -> MotionEncoder:
    dims = MotionDims(
        side=64, stem=16, attention=64, heads=2, landmarks=4, code=32, token=4, box=box
    )
    return xnemo_golden.formula_network(lambda: MotionEncoder(dims))


def test_frames_are_encoded_one_by_one_and_the_box_counts() -> None:
    encoder = small_encoder(box=8)
    random = torch.Generator().manual_seed(0)
    faces = torch.rand(2, 3, FRAMES, 64, 64, generator=random)
    boxes = torch.rand(2, FRAMES, 3, generator=random)
    with torch.inference_mode():
        tokens = encoder(faces, boxes)
        assert tokens.shape == (2, FRAMES, 8, 4)
        alone = encoder(faces[1:, :, 2:], boxes[1:, 2:])
        assert torch.allclose(tokens[1:, 2:], alone, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(encoder(faces, boxes + 1), tokens)
        assert small_encoder(box=0)(faces).shape == tokens.shape


class Pair:
    """Both networks, small, and something to run them on."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random)

        self.reference = xnemo_golden.formula_network(lambda: ReferenceUNet(SMALL))
        self.network = xnemo_golden.formula_network(lambda: DenoisingUNet(SMALL))
        self.photo, self.context = draw(1, 4, 8, 8), draw(1, 1, 16)
        self.latent, self.motion = draw(1, 4, FRAMES, 8, 8), draw(1, FRAMES, 5, 4)

    def run(
        self, *, latent: Tensor | None = None, time: Tensor | None = None, **changes: Any
    ) -> Tensor:
        inputs = {"context_1TC": self.context, "motion_BFTC": self.motion} | changes
        time = torch.tensor([500]) if time is None else time
        with torch.inference_mode():
            noise: Tensor = self.network(self.latent if latent is None else latent, time, **inputs)
        return noise


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def test_the_bank_has_a_tensor_for_every_block(pair: Pair) -> None:
    with torch.inference_mode():
        features, bank = pair.reference(pair.photo, pair.context)
    assert features.shape == (1, 32, 8, 8)
    assert len(bank) == len(token_blocks(SMALL)) == 4
    assert [tuple(tokens.shape[1:]) for tokens in bank] == [(64, 32), (16, 64), (64, 32), (64, 32)]
    modules = dict(pair.network.named_modules())
    assert all(block in modules for block in token_blocks(SMALL))


def test_everything_that_is_told_counts(pair: Pair) -> None:
    with torch.inference_mode():
        bank = pair.reference(pair.photo, pair.context)[1]
    told = pair.run(bank=bank)
    assert told.shape == pair.latent.shape
    others = {
        "no bank": pair.run(),
        "other bank": pair.run(bank=tuple(-tokens for tokens in bank)),
        "motion": pair.run(bank=bank, motion_BFTC=-pair.motion),
        "context": pair.run(bank=bank, context_1TC=-pair.context),
        "time": pair.run(bank=bank, time=torch.tensor([501])),
        "pose": pair.run(bank=bank, pose_BCFHW=torch.ones(1, 32, FRAMES, 8, 8)),
    }
    for name, other in others.items():
        assert not torch.allclose(other, told, atol=1e-5), name


def test_frames_see_each_other_and_their_order(pair: Pair) -> None:
    told = pair.run()
    changed = pair.latent.clone()
    changed[:, :, 2] = 0
    assert not torch.allclose(pair.run(latent=changed)[:, :, 0], told[:, :, 0], atol=1e-5)
    turned = pair.run(latent=pair.latent.flip(2), motion_BFTC=pair.motion.flip(1)).flip(2)
    assert not torch.allclose(turned, told, atol=1e-5)


def test_a_timestep_for_each_frame_may_be_the_same_for_all(pair: Pair) -> None:
    one, each = torch.tensor([300]), torch.full((FRAMES,), 300)
    assert torch.equal(pair.run(time=one), pair.run(time=each))
    mixed = torch.tensor([300, 300, 900])
    assert not torch.allclose(pair.run(time=mixed), pair.run(time=one), atol=1e-5)
