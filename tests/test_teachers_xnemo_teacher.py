"""X-NeMo as a teacher, all its networks small: from files to pictures, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytest.importorskip("diffusers")  # the extra `teachers`

from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.face import FaceBox
from pocketportrait.models.teachers import registry, xnemo
from pocketportrait.models.teachers.protocol import EncodingTeacher
from pocketportrait.models.teachers.xnemo import XNemo, XNemoOptions
from pocketportrait.models.teachers.xnemo_golden import formula_state
from pocketportrait.models.teachers.xnemo_layers import UNetDims
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import (
    Part,
    Shelf,
    Sizes,
    build_clip,
    build_picture_vae,
    build_video_vae,
    picture_vae_part,
)
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet

OPTIONS = XNemoOptions(steps=2, window=3, overlap=1, side_px=64)


def small_sizes() -> Sizes:
    return Sizes(
        MotionDims(side=64, stem=16, attention=64, heads=2, landmarks=4, code=32, token=4, box=8),
        UNetDims(channels=(32, 64), layers=1, heads=2, context=16, motion=4),
        vae_widths=(32, 32, 32, 32),
        clip_width=32, clip_layers=1, clip_heads=2, clip_side=28,
    )  # fmt: skip


def state_of(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        like = build().state_dict()
    return formula_state(like)


def write_checkpoints(folder: Path, sizes: Sizes) -> None:
    """Write the formula's weights where the published files would be."""
    denoising = state_of(lambda: DenoisingUNet(sizes.unet))
    temporal = {key: value for key, value in denoising.items() if "temporal_modules" in key}
    torch.save(state_of(lambda: MotionEncoder(sizes.motion)), folder / "xnemo_motion_encoder.pth")
    torch.save(state_of(lambda: ReferenceUNet(sizes.unet)), folder / "xnemo_reference_unet.pth")
    rest = {key: value for key, value in denoising.items() if key not in temporal}
    torch.save(rest, folder / "xnemo_denoising_unet.pth")
    torch.save(temporal, folder / "xnemo_temporal_module.pth")
    for name in ("vae", "image_encoder"):
        (folder / name).mkdir()
    vae = state_of(lambda: build_video_vae(sizes))
    save_file(vae, folder / "vae" / "diffusion_pytorch_model.safetensors")
    clip = state_of(lambda: build_clip(sizes))
    clip["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    torch.save(clip, folder / "image_encoder" / "pytorch_model.bin")


class OneFace:
    """Finds a face in the middle of pictures that are not black."""

    def detect(self, rgb: Array) -> list[FaceBox]:
        return [FaceBox(70, 60, 190, 200)] if rgb.any() else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xnemo")
    write_checkpoints(path, small_sizes())
    return path


def open_small(folder: Path, options: XNemoOptions = OPTIONS) -> XNemo:
    return XNemo.open(folder, options=options, sizes=small_sizes(), detector=OneFace())


def picture(seed: int) -> Array:
    blocks = np.random.default_rng(seed).integers(1, 255, (8, 8, 3), dtype=np.uint8)
    return blocks.repeat(32, 0).repeat(32, 1)


def test_a_picture_a_frame_and_the_same_ones_again(folder: Path) -> None:
    teacher = open_small(folder)
    assert isinstance(teacher, EncodingTeacher)
    assert teacher.summary.startswith("6 checkpoints")
    frames = [picture(seed) for seed in range(1, 5)]
    pictures = list(teacher.animate(picture(0), frames))
    assert [(one.shape, one.dtype) for one in pictures] == [((256, 256, 3), np.uint8)] * 4
    again = list(open_small(folder).animate(picture(0), frames))
    assert all(np.array_equal(*pair) for pair in zip(pictures, again, strict=True))
    other = list(teacher.animate(picture(9), frames))
    assert not np.array_equal(other[0], pictures[0])
    assert list(teacher.animate(picture(0), [])) == []


def test_options_and_files_decide_the_fingerprint(folder: Path) -> None:
    teacher = open_small(folder)
    assert teacher.fingerprint == open_small(folder).fingerprint
    other = dataclasses.replace(OPTIONS, seed=1)
    assert teacher.fingerprint != open_small(folder, other).fingerprint


def test_codes_are_the_motion_tokens(folder: Path) -> None:
    teacher = open_small(folder)
    codes = teacher.encode([picture(1), picture(2)])
    assert codes.shape == (2, 32)
    assert codes.dtype == np.float32
    assert not np.allclose(codes[0], codes[1])
    assert teacher.encode([]).shape == (0, 32)


def test_pictures_without_a_face_are_refused_by_name(folder: Path) -> None:
    teacher, black = open_small(folder), np.zeros((256, 256, 3), np.uint8)
    with pytest.raises(InputError, match="photo: want a face, got none"):
        next(teacher.animate(black, [picture(1)]))
    with pytest.raises(InputError, match="frame 0: want a face, got none"):
        next(teacher.animate(picture(0), [black]))
    with pytest.raises(InputError, match="photo: want uint8"):
        next(teacher.animate(black[:64], [picture(1)]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps: want 1 to 1000, got 0"),
        ({"window": 33}, "overlap < window <= 32"),
        ({"overlap": 3}, "got overlap 3 and window 3"),
        ({"side_px": 500}, "want a multiple of 64 px, got 500"),
    ],
)
def test_options_that_cannot_be_are_refused(
    folder: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_small(folder, dataclasses.replace(OPTIONS, **changes))


def test_partial_checkpoints_name_what_is_missing_and_what_is_too_much(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, small_sizes())
    path = tmp_path / "xnemo_temporal_module.pth"
    weights = torch.load(path, weights_only=True)
    key = "mid_block.temporal_modules.0.temporal_transformer.proj_in.bias"
    weights[f"module.{key}"] = weights.pop(key)
    torch.save(weights, path)
    with pytest.raises(InputError) as error:
        open_small(tmp_path)
    message = str(error.value)
    assert message.startswith("xnemo_denoising_unet.pth + xnemo_temporal_module.pth: 1 of ")
    assert f"keys missing ({key}), 1 unexpected (module.{key})" in message
    path.unlink()
    with pytest.raises(InputError, match=r"want xnemo_temporal_module\.pth"):
        open_small(tmp_path)


def test_one_network_is_in_memory_at_a_time_unless_told_to_keep_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, path)
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(nn.Linear(2, 1))
        return built[-1]

    for keep, times in ((False, 3), (True, 1)):
        built.clear()
        shelf = Shelf({"a": Part((path,), build)}, torch.device("cpu"), keep=keep)
        assert shelf.check() == 3
        for _ in range(2):
            with shelf.take("a") as network:
                assert network(torch.ones(1, 2)).item() == 2
        assert len(built) == times


def test_older_names_of_a_vaes_attention_are_understood(tmp_path: Path) -> None:
    sizes, old = small_sizes(), {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value."}
    state = state_of(lambda: build_picture_vae(sizes))
    renamed = {}
    for key, value in state.items():
        for new, name in {**old, ".to_out.0.": ".proj_attn."}.items():
            if new in key:
                key = key.replace(new, name)
                value = value[..., None, None] if value.dim() == 2 else value
        renamed[key] = value.contiguous()
    (tmp_path / "vae").mkdir()
    save_file(renamed, tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    shelf = Shelf({"vae": picture_vae_part(tmp_path, sizes)}, torch.device("cpu"), keep=False)
    with shelf.take("vae") as network:
        got = network.state_dict()
    assert got.keys() == state.keys() != renamed.keys()
    assert all(torch.equal(got[key], state[key]) for key in state)


@pytest.mark.slow
def test_the_check_command_opens_renders_and_refuses(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind = dataclasses.replace(registry.KINDS["xnemo"], outputs=None, gflop=None)
    monkeypatch.setitem(registry.KINDS, "xnemo", kind)
    monkeypatch.setattr(xnemo, "Sizes", small_sizes)
    out = tmp_path / "frame.png"
    command = ["teacher", "check", "xnemo", "--weights"]
    assert main([*command, str(folder), "--out", str(out)]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["loaded"].endswith("every key in its place; 2 steps at 256 px")
    assert lines["frame"].startswith("256x256")
    assert out.is_file()
    partial = tmp_path / "partial"
    partial.mkdir()
    write_checkpoints(partial, small_sizes())
    vae = partial / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(vae)
    del weights["decoder.conv_in.bias"]
    save_file(weights, vae)
    assert main([*command, str(partial)]) == 2
    assert "keys missing (decoder.conv_in.bias), 0 unexpected" in capsys.readouterr().err
