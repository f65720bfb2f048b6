"""What is changed in pictures: in driving frames, so that codes carry no identity; in pairs, for variety."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.distill.labels import NOMINAL_RADIUS
from pocketportrait.distill.smoothing import box_mean


def jitter_colour(x_B3HW: Tensor, rng: torch.Generator) -> Tensor:
    """Scale, shift and bend the brightness of each picture and channel; stays in 0..1."""
    b, device = x_B3HW.shape[0], x_B3HW.device
    gain = _uniform((b, 1, 1, 1), 0.75, 1.25, rng).to(device)
    cast = _uniform((b, 3, 1, 1), -0.08, 0.08, rng).to(device)
    gamma = _uniform((b, 1, 1, 1), 0.7, 1.4, rng).to(device)
    grey = x_B3HW.mean(1, keepdim=True)
    saturation = _uniform((b, 1, 1, 1), 0.5, 1.4, rng).to(device)
    coloured = grey + (x_B3HW - grey) * saturation
    return (coloured.clamp(1e-4, 1) ** gamma * gain + cast).clamp(0, 1)


def degrade(x_B3HW: Tensor, rng: torch.Generator) -> Tensor:
    """Take sharpness from each picture, none to all that `soften` takes, and add sensor noise."""
    b, device = len(x_B3HW), x_B3HW.device
    amount = _uniform((b, 1, 1, 1), -1, 1, rng).clamp(0, 1).to(device)
    strength = _uniform((b, 1, 1, 1), 0, 0.03, rng).to(device)
    own = torch.Generator(device).manual_seed(int(torch.randint(2**31, (), generator=rng)))
    noise = torch.randn(x_B3HW.shape, generator=own, device=device) * strength
    less = amount.flatten() > 0
    noisy = x_B3HW + noise
    noisy[less] += (soften(x_B3HW[less]) - x_B3HW[less]) * amount[less]
    return noisy.clamp_(0, 1)


def draw_place(b: int, rng: torch.Generator) -> Tensor:
    """Return [B, 2, 3]: scale by 0.77..1.3, stretch, turn up to 8 degrees, shift up to 8 % of the side."""
    scale = torch.exp(_uniform((b,), -0.26, 0.26, rng))
    aspect = torch.exp(_uniform((b,), -0.13, 0.13, rng))
    angle = _uniform((b,), -0.14, 0.14, rng)
    shift = _uniform((b, 2), -0.16, 0.16, rng)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [
        torch.stack([scale * aspect * cos, -scale * sin, shift[:, 0]], 1),
        torch.stack([scale * sin, scale / aspect * cos, shift[:, 1]], 1),
    ]
    return torch.stack(rows, 1)


def place(x_B3HW: Tensor, affine_B23: Tensor, padding: str = "border") -> Tensor:
    """Resample pictures: `affine_B23` maps output to input coordinates, both -1..1."""
    grid = F.affine_grid(affine_B23, list(x_B3HW.shape), align_corners=False)
    return F.grid_sample(x_B3HW, grid, align_corners=False, padding_mode=padding)


def placed_points(affine_B23: Tensor, points_BP2: Tensor) -> Tensor:
    """Return where landmarks, 0..1, come to lie in what `place` makes of pictures."""
    turn, shift = affine_B23[:, :, :2], affine_B23[:, :, 2]
    back = torch.linalg.inv(turn).transpose(1, 2)
    placed: Tensor = ((points_BP2 * 2 - 1 - shift[:, None]) @ back + 1) / 2
    return placed


def placed_pose(affine_B23: Tensor, points_BP2: Tensor, pose_B6: Tensor) -> Tensor:
    """Return the head poses [B, 6] of what `place` makes of pictures.

    Centre and size are those of the landmarks where they come to lie, exactly; roll turns with the
    picture; yaw and pitch are the face's own.

    Args:
        affine_B23: as in `place`.
        points_BP2: landmarks before, 0..1.
        pose_B6: head poses before.

    """
    back = torch.linalg.inv(affine_B23[:, :, :2])
    moved = placed_points(affine_B23, points_BP2)
    centre = moved.mean(1)
    radius = (moved - centre[:, None]).square().sum(-1).mean(-1, keepdim=True).sqrt()
    roll = pose_B6[:, 2]
    # picture y points down, roll's y points up
    across = (back @ torch.stack([roll.cos(), -roll.sin()], 1)[:, :, None])[:, :, 0]
    roll = torch.atan2(-across[:, 1], across[:, 0])[:, None]
    scale = torch.log(radius / NOMINAL_RADIUS)
    return torch.cat([pose_B6[:, :2], roll, centre - 0.5, scale], 1)


def soften(x_B3HW: Tensor) -> Tensor:
    """Average over 4x4 and then 3x3 pixels: no pattern of a period of 2, 3 or 4 pixels is left."""
    return box_mean(box_mean(F.pad(x_B3HW, (2, 3, 2, 3), mode="replicate"), 4), 3)


def draw_zoom(b: int, rng: torch.Generator) -> Tensor:
    """Return [B, 2, 3]: for half of all pairs a change of photo and target alike, 0.8..1.25 as large.

    Faces in photos are not all as large, nor all in the middle, as in the clips.
    """
    chosen = (_uniform((b,), 0, 1, rng) < 0.5).float()
    scale = torch.exp(_uniform((b,), -0.22, 0.22, rng) * chosen)
    shift = _uniform((b, 2), -0.12, 0.12, rng) * chosen[:, None]
    return torch.cat([torch.diag_embed(scale[:, None].expand(b, 2)), shift[:, :, None]], 2)


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng) * (high - low) + low
