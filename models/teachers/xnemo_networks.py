"""Networks of X-NeMo and PersonaLive on disk: which files make one up, and when they are in memory.

Together they are 11 GB in float32. `Shelf` loads a network when it is wanted and lets it go, unless it
was told that memory holds them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from pocketportrait.errors import InputError
from pocketportrait.models.teachers.checkpoint import (
    find_checkpoint,
    load_strictly,
    read_checkpoint,
)
from pocketportrait.models.teachers.xnemo_layers import UNetDims
from pocketportrait.models.teachers.xnemo_motion import MotionDims

LATENT_SCALE = 0.18215  # Stable Diffusion's: latents have a spread of about 1
_OLD_NAMES = {
    ".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0.",
}  # fmt: skip
# CLIP's picture statistics, RGB in 0..1
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_SPREAD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of all networks; the published ones unless said otherwise."""

    motion: MotionDims = field(default_factory=MotionDims)
    unet: UNetDims = field(default_factory=UNetDims)
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    clip_width: int = 1024
    clip_layers: int = 24
    clip_heads: int = 16
    clip_side: int = 224  # pixels
    clip_patch: int = 14


@dataclass(frozen=True, slots=True)
class Part:
    """One network: its files, later ones over earlier ones, and how it is built."""

    files: tuple[Path, ...]
    build: Callable[[], nn.Module]
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict

    @property
    def title(self) -> str:
        """What messages call it."""
        return " + ".join(path.name for path in self.files)


class Shelf:
    """Networks by name."""

    def __init__(self, parts: Mapping[str, Part], device: torch.device, *, keep: bool) -> None:
        """Take parts; nothing is read yet.

        Args:
            parts: networks by name.
            device: where they run.
            keep: all stay in memory once loaded; else one at a time is there.

        """
        self._parts, self._device, self._keep = dict(parts), device, keep
        self._kept: dict[str, nn.Module] = {}
        self._weights = 0

    def check(self) -> int:
        """Load every network once, and return how many weights there are.

        Raises:
            InputError: a file is broken, or holds other keys or shapes.

        """
        self._weights = sum(self._count(name) for name in self._parts)
        return self._weights

    @contextmanager
    def take(self, name: str) -> Iterator[nn.Module]:
        """Hold one network in memory.

        Raises:
            InputError: as `check`.

        """
        network = self._kept.get(name)
        if network is None:
            network = _load(self._parts[name]).to(self._device)
        if self._keep:
            self._kept[name] = network
        yield network

    def _count(self, name: str) -> int:
        # a call of its own, so that no variable holds one network while the next one comes
        with self.take(name) as network:
            return sum(weight.numel() for weight in network.parameters())

    @property
    def summary(self) -> str:
        """One line: what `check` found."""
        return (
            f"{len(self.files)} checkpoints, {self._weights / 1e6:.1f} M parameters,"
            " every key in its place"
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for part in self._parts.values() for path in part.files)

    def fingerprint(self, kind: str, options: object) -> str:
        """Return a hash of all files' contents and of how a teacher of this kind uses them."""
        text = repr((kind, options, self._hash()))
        return hashlib.sha256(text.encode()).hexdigest()

    def _hash(self) -> str:
        digest = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _load(part: Part) -> nn.Module:
    tensors: dict[str, Tensor] = {}
    for path in part.files:
        tensors.update(read_checkpoint(path))
    return load_strictly(part.build, part.rename(tensors), part.title)


def find_first(folder: Path, stems: tuple[str, ...]) -> Path:
    """Return the checkpoint under the first of several names that is there.

    Raises:
        InputError: there is none.

    """
    reasons = []
    for stem in stems:
        try:
            return find_checkpoint(folder, stem)
        except InputError as error:
            reasons.append(str(error))
    raise InputError("; or ".join(reasons))


def video_vae_part(folder: Path, sizes: Sizes) -> Part:
    """Return Stable Video Diffusion's VAE, whose decoder looks along time, from FOLDER/vae."""
    files = (find_first(folder / "vae", ("diffusion_pytorch_model",)),)
    return Part(files, lambda: build_video_vae(sizes))


def picture_vae_part(folder: Path, sizes: Sizes) -> Part:
    """Return Stable Diffusion's VAE from FOLDER/vae."""
    files = (find_first(folder / "vae", ("diffusion_pytorch_model",)),)
    return Part(files, lambda: build_picture_vae(sizes), _renamed_attention)


def clip_part(folder: Path, sizes: Sizes) -> Part:
    """Return CLIP's picture encoder from FOLDER/image_encoder."""
    files = (find_first(folder / "image_encoder", ("model", "pytorch_model")),)
    return Part(files, lambda: build_clip(sizes), _without_positions)


def build_video_vae(sizes: Sizes) -> nn.Module:
    """Return Stable Video Diffusion's VAE."""
    network: nn.Module = AutoencoderKLTemporalDecoder(**_vae_options(sizes))
    return network


def build_picture_vae(sizes: Sizes) -> nn.Module:
    """Return Stable Diffusion's VAE."""
    stages = ("UpDecoderBlock2D",) * len(sizes.vae_widths)
    network: nn.Module = AutoencoderKL(**_vae_options(sizes), up_block_types=stages)
    return network


def build_clip(sizes: Sizes) -> nn.Module:
    """Return CLIP's picture encoder."""
    config = CLIPVisionConfig(
        hidden_size=sizes.clip_width,
        intermediate_size=4 * sizes.clip_width,
        num_hidden_layers=sizes.clip_layers,
        num_attention_heads=sizes.clip_heads,
        projection_dim=sizes.unet.context,
        image_size=sizes.clip_side,
        patch_size=sizes.clip_patch,
    )
    network: Any = CLIPVisionModelWithProjection(config)
    # built without memory, and in no checkpoint: the one table that must be made here
    embeddings = network.vision_model.embeddings
    count = embeddings.position_ids.shape[-1]
    embeddings.position_ids = torch.arange(count, device="cpu")[None]
    built: nn.Module = network
    return built


def picture_latent(vae: Any, picture_B3HW: Tensor) -> Tensor:
    """Return latents [B, 4, H/8, W/8] of pictures in -1..1: the mean, nothing is drawn."""
    latent: Tensor = vae.encode(picture_B3HW).latent_dist.mean * LATENT_SCALE
    return latent


def picture_embedding(clip: Any, picture_B3HW: Tensor) -> Tensor:
    """Return [B, 1, width] of pictures in 0..1."""
    side = clip.config.image_size
    small = nn.functional.interpolate(
        picture_B3HW, (side, side), mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    mean = small.new_tensor(_CLIP_MEAN)[:, None, None]
    spread = small.new_tensor(_CLIP_SPREAD)[:, None, None]
    embedding: Tensor = clip((small - mean) / spread).image_embeds
    return embedding[:, None]


def _vae_options(sizes: Sizes) -> dict[str, Any]:
    return {
        "down_block_types": ("DownEncoderBlock2D",) * len(sizes.vae_widths),
        "block_out_channels": sizes.vae_widths,
        "layers_per_block": 2,
        "latent_channels": sizes.unet.latent,
        "scaling_factor": LATENT_SCALE,
    }


def _renamed_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the attentions of an older VAE file the names, and the rank, of today's."""
    renamed = {}
    for key, value in tensors.items():
        for old, new in _OLD_NAMES.items():
            if ".attentions." in key and old in key:
                key, value = key.replace(old, new), value.flatten(1) if value.dim() > 1 else value
        renamed[key] = value
    return renamed


def _without_positions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out a table of 0, 1, 2, ... that older CLIP files carry."""
    return {key: value for key, value in tensors.items() if not key.endswith(".position_ids")}
