"""What is changed in a driving frame, so that its code can carry neither identity nor colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def jitter_colour(x_B3HW: Tensor, rng: torch.Generator) -> Tensor:
    """Scale, shift and bend the brightness of each picture and channel; stays in 0..1."""
    b = x_B3HW.shape[0]
    gain = _uniform((b, 1, 1, 1), 0.75, 1.25, rng)
    cast = _uniform((b, 3, 1, 1), -0.08, 0.08, rng)
    gamma = _uniform((b, 1, 1, 1), 0.7, 1.4, rng)
    grey = x_B3HW.mean(1, keepdim=True)
    saturation = _uniform((b, 1, 1, 1), 0.5, 1.4, rng)
    coloured = grey + (x_B3HW - grey) * saturation
    return (coloured.clamp(1e-4, 1) ** gamma * gain + cast).clamp(0, 1)


def jitter_place(x_B3HW: Tensor, rng: torch.Generator) -> Tensor:
    """Scale by 0.77..1.3, stretch, turn by up to 8 degrees and shift by up to 8 % of the side."""
    b = x_B3HW.shape[0]
    scale = torch.exp(_uniform((b,), -0.26, 0.26, rng))
    aspect = torch.exp(_uniform((b,), -0.13, 0.13, rng))
    angle = _uniform((b,), -0.14, 0.14, rng)
    shift = _uniform((b, 2), -0.16, 0.16, rng)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([scale * aspect * cos, -scale * sin, shift[:, 0]], 1),
        torch.stack([scale * sin, scale / aspect * cos, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x_B3HW.shape), align_corners=False)
    return F.grid_sample(x_B3HW, grid, align_corners=False, padding_mode="border")


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low
