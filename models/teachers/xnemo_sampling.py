"""How X-NeMo and PersonaLive sample: deterministic DDIM steps, and windows of frames that overlap.

DDIM: Song, Meng and Ermon, ICLR 2021.

Shape suffixes: B batch, C channels, F frames, H and W latent pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TRAINED_STEPS = 1000
_BETAS = 0.00085, 0.02  # of the first and the last step, even between their roots
_BLUR_PX, _BLUR_SIGMA_PX = 9, 18.0


class Schedule:
    """How much of the picture is left at every step, and the way back down."""

    def __init__(self) -> None:
        """Compute the schedule."""
        low, high = (beta**0.5 for beta in _BETAS)
        betas = torch.linspace(low, high, TRAINED_STEPS, dtype=torch.float32) ** 2
        self.kept = torch.cumprod(1 - betas, 0)  # share of the picture's variance

    def noised(self, latent_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps: Tensor) -> Tensor:
        """Return `latent` as it is at timesteps ([1] or [F])."""
        kept = self._of_frames(timesteps, latent_BCFHW)
        return kept.sqrt() * latent_BCFHW + (1 - kept).sqrt() * noise_BCFHW

    def clean(self, latent_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps: Tensor) -> Tensor:
        """Return the picture that `latent` would be without this noise."""
        kept = self._of_frames(timesteps, latent_BCFHW)
        return (latent_BCFHW - (1 - kept).sqrt() * noise_BCFHW) / kept.sqrt()

    def step(
        self, latent_BCFHW: Tensor, noise_BCFHW: Tensor, timesteps: Tensor, stride: int
    ) -> Tensor:
        """Return the latent `stride` timesteps earlier; before the first, it is clean."""
        clean = self.clean(latent_BCFHW, noise_BCFHW, timesteps)
        earlier = timesteps - stride
        stepped = self.noised(clean, noise_BCFHW, earlier.clamp(min=0))
        done = (earlier < 0).to(latent_BCFHW.device).view(1, 1, -1, 1, 1)
        return torch.where(done, clean, stepped)

    def _of_frames(self, timesteps: Tensor, like_BCFHW: Tensor) -> Tensor:
        kept = self.kept[timesteps.cpu()].view(1, 1, -1, 1, 1)
        return kept.to(like_BCFHW)


def descent(steps: int) -> list[int]:
    """Return `steps` timesteps, the noisiest first: equal strides, ending at 1."""
    stride = TRAINED_STEPS // steps
    return [index * stride + 1 for index in reversed(range(steps))]


def windows(frames: int, size: int, overlap: int, offset: int = 0) -> list[range]:
    """Cover `frames` with windows of `size` that overlap by at least `overlap`.

    Args:
        frames: number of frames.
        size: of a window; one window holds all where there are fewer.
        overlap: less than `size`.
        offset: how much earlier the windows begin; those at the ends are moved inside.

    """
    last = frames - size
    if last <= 0:
        return [range(frames)]
    stride = size - overlap
    begins = (
        min(max(begin, 0), last) for begin in range(-(offset % stride), last + stride, stride)
    )
    return [range(begin, begin + size) for begin in sorted(set(begins))]


def blend(
    latent_BCFHW: Tensor, parts: list[range], predict: Callable[[Tensor, range], Tensor]
) -> Tensor:
    """Return predictions for all frames; where windows overlap, their mean.

    Args:
        latent_BCFHW: the frames.
        parts: windows that cover them.
        predict: what is wanted of one window's frames.

    """
    total = torch.zeros_like(latent_BCFHW)
    count = latent_BCFHW.new_zeros(latent_BCFHW.shape[2])
    for part in parts:
        inside = slice(part.start, part.stop)
        total[:, :, inside] += predict(latent_BCFHW[:, :, inside], part)
        count[inside] += 1
    return total / count.view(1, 1, -1, 1, 1)


def blurred(latent_BCHW: Tensor) -> Tensor:
    """Return the photo's latent without its detail: where every frame starts from."""
    places = torch.arange(_BLUR_PX, dtype=torch.float32) - _BLUR_PX // 2
    row = torch.exp(-0.5 * (places / _BLUR_SIGMA_PX) ** 2)
    row = (row / row.sum()).to(latent_BCHW)
    kernel = torch.outer(row, row).expand(latent_BCHW.shape[1], 1, -1, -1)
    half = _BLUR_PX // 2
    padded = F.pad(latent_BCHW, (half, half, half, half), mode="reflect")
    return F.conv2d(padded, kernel, groups=latent_BCHW.shape[1])
