"""What a frame of X-NeMo and of PersonaLive costs: FLOP counted on shapes alone (a MAC is 2 FLOP)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pocketportrait.models.teachers.liveportrait_motion import MotionExtractor
from pocketportrait.models.teachers.personalive_pose import PoseGuider
from pocketportrait.models.teachers.personalive_stream import TIMESTEPS
from pocketportrait.models.teachers.xnemo import XNemoOptions
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import (
    Sizes,
    build_clip,
    build_picture_vae,
    build_video_vae,
)
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet

_SIDE_PX = 512


def xnemo_gflop() -> Mapping[str, float]:
    """Return GFLOP of a frame by network: all steps, both passes of guidance, windows' overlap."""
    options = XNemoOptions()
    alone, looking = denoising_gflop()
    again = options.window / (options.window - options.overlap)
    vae = _meta(build_video_vae, Sizes())
    with torch.device("meta"):
        motion = _count(MotionEncoder(), torch.zeros(1, 3, 1, 224, 224), torch.zeros(1, 1, 3))
        decode = _count(_Decoder(vae, num_frames=1), _latent())
    return {
        **_photo_gflop(vae),
        "motion": motion,
        "denoising": (alone + looking) * options.steps * again,
        "decode": decode,
    }


def personalive_gflop() -> Mapping[str, float]:
    """Return GFLOP of a frame by network."""
    vae = _meta(build_picture_vae, Sizes())
    with torch.device("meta"):
        faces = torch.zeros(1, 3, 1, 224, 224)
        motion = _count(MotionEncoder(MotionDims(box=0)), faces)
        pose = _count(MotionExtractor(), torch.zeros(1, 3, 256, 256))
        guider = _count(PoseGuider(), torch.zeros(1, 3, 1, _SIDE_PX, _SIDE_PX))
        decode = _count(_Decoder(vae), _latent())
    return {
        **_photo_gflop(vae),
        "motion": motion,
        "pose": pose + guider,
        "denoising": denoising_gflop()[1] * len(TIMESTEPS),
        "decode": decode,
    }


def denoising_gflop() -> tuple[float, float]:
    """Return the cost of one frame at one step: without the photo's tokens, and with them."""
    with torch.device("meta"):
        context = torch.zeros(1, 1, 768)
        with torch.no_grad():
            bank = ReferenceUNet()(_latent(), context)[1]
        network = DenoisingUNet()
        inputs = _latent()[:, :, None], torch.zeros(1), context, torch.zeros(1, 1, 32, 16)
        return _count(network, *inputs), _count(network, *inputs, bank)


def _photo_gflop(vae: Any) -> dict[str, float]:
    with torch.device("meta"):
        picture = torch.zeros(1, 3, _SIDE_PX, _SIDE_PX)
        return {
            "encode": _count(vae.encoder, picture),
            "embed": _count(_meta(build_clip, Sizes()), torch.zeros(1, 3, 224, 224)),
            "reference": _count(ReferenceUNet(), _latent(), torch.zeros(1, 1, 768)),
        }


class _Decoder(nn.Module):
    def __init__(self, vae: Any, **options: Any) -> None:
        super().__init__()
        self.vae, self.options = vae, options

    def forward(self, latent: Tensor) -> Any:
        return self.vae.decode(latent, **self.options)


def _meta(build: Callable[[Sizes], nn.Module], sizes: Sizes) -> Any:
    with torch.device("meta"):
        return build(sizes).to("meta")  # one number of the video decoder is made on the CPU always


def _latent() -> Tensor:
    return torch.zeros(1, 4, _SIDE_PX // 8, _SIDE_PX // 8)


def _count(network: nn.Module, *inputs: Any) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(*inputs)
    return float(counter.get_total_flops()) / 1e9
