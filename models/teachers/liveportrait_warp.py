"""LivePortrait's warping module: keypoints say how the volume of features moves.

Shape suffixes: B batch, K keypoints, M motions (the identity and one shift a keypoint), C channels,
D depth, H and W pixels. Coordinates are (x, y, z) in -1..1. The dense motion network follows Wang
et al., "One-Shot Free-View Neural Talking-Head Synthesis", CVPR 2021.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.models.teachers.liveportrait_appearance import CHANNELS, DEPTH
from pocketportrait.models.teachers.liveportrait_blocks import ConvNorm2d, ConvNorm3d
from pocketportrait.models.teachers.liveportrait_motion import KEYPOINTS

VARIANCE = 0.01  # of the Gaussian around a keypoint
_COMPRESSED = 4
_MOTIONS = KEYPOINTS + 1
_WIDTHS = (_MOTIONS * (_COMPRESSED + 1), 64, 128, 256, 512, 1024)  # 110 channels come in
_UP = (512, 256, 128, 64, 32)
_DENSE = _UP[-1] + _WIDTHS[0]
_LEAK = 0.01


class Warped(NamedTuple):
    """What the warp gives the generator, and how it moved."""

    occlusion: Tensor  # B, 1, H, W in 0..1: how much of the features is kept
    deformation: Tensor  # B, D, H, W, 3: where each place of the volume looks
    features: Tensor  # B, 256, H, W


class HourglassDown(nn.Module):
    """Five halvings; every intermediate is kept."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.down_blocks = nn.ModuleList(ConvNorm3d(a, b, halve=True) for a, b in pairwise(_WIDTHS))

    def forward(self, x_BCDHW: Tensor) -> list[Tensor]:
        """Return the input and the outputs of the five blocks."""
        kept = [x_BCDHW]
        for block in self.down_blocks:
            kept.append(block(kept[-1]))
        return kept


class HourglassUp(nn.Module):
    """Five doublings, each joined by what the way down kept at its size."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        inputs = (_WIDTHS[-1], *(2 * width for width in _UP[:-1]))  # what was kept is as wide
        self.up_blocks = nn.ModuleList(
            ConvNorm3d(a, b, double=True) for a, b in zip(inputs, _UP, strict=True)
        )
        self.conv = nn.Conv3d(_DENSE, _DENSE, 3, padding=1)
        self.norm = nn.BatchNorm3d(_DENSE)

    def forward(self, kept: list[Tensor]) -> Tensor:
        """Return [B, 142, D, H, W]."""
        x = kept.pop()
        for block in self.up_blocks:
            x = torch.cat([block(x), kept.pop()], 1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """Down and up again."""

    def __init__(self) -> None:
        """Make both ways."""
        super().__init__()
        self.encoder = HourglassDown()
        self.decoder = HourglassUp()

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return [B, 142, D, H, W] of [B, 110, D, H, W]."""
        dense: Tensor = self.decoder(self.encoder(x_BCDHW))
        return dense


class DenseMotion(nn.Module):
    """Weighs the motions of all keypoints at every place of the volume."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.compress = nn.Conv3d(CHANNELS, _COMPRESSED, 1)
        self.norm = nn.BatchNorm3d(_COMPRESSED)
        self.hourglass = Hourglass()
        self.mask = nn.Conv3d(_DENSE, _MOTIONS, 7, padding=3)
        self.occlusion = nn.Conv2d(_DENSE * DEPTH, 1, 7, padding=3)

    def forward(
        self, volume_BCDHW: Tensor, to_BK3: Tensor, from_BK3: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the deformation [B, D, H, W, 3] and the occlusion [B, 1, H, W]."""
        compressed = F.relu(self.norm(self.compress(volume_BCDHW)))
        grid_DHW3 = corner_grid(volume_BCDHW)
        motions_BMDHW3 = sparse_motions(grid_DHW3, to_BK3, from_BK3)
        moved = _sample_each(compressed, motions_BMDHW3)
        heat = gaussians(grid_DHW3, to_BK3) - gaussians(grid_DHW3, from_BK3)
        heat_BMDHW = F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0))  # the identity has none
        dense = self.hourglass(torch.cat([heat_BMDHW[:, :, None], moved], 2).flatten(1, 2))
        share_BMDHW = torch.softmax(self.mask(dense), 1)
        deformation = (share_BMDHW[..., None] * motions_BMDHW3).sum(1)
        return deformation, torch.sigmoid(self.occlusion(dense.flatten(1, 2)))


class WarpingModule(nn.Module):
    """Volume and two sets of keypoints -> `Warped`; 45.5 M parameters, 342 GFLOP."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.dense_motion_network = DenseMotion()
        self.third = ConvNorm2d(CHANNELS * DEPTH, 256, slope=_LEAK)
        self.fourth = nn.Conv2d(256, 256, 1)

    def forward(self, volume_BCDHW: Tensor, to_BK3: Tensor, from_BK3: Tensor) -> Warped:
        """Move the volume so that keypoints `from` come to stand at `to`."""
        deformation, occlusion = self.dense_motion_network(volume_BCDHW, to_BK3, from_BK3)
        moved = F.grid_sample(volume_BCDHW, deformation, align_corners=False)
        features = self.fourth(self.third(moved.flatten(1, 2))) * occlusion
        return Warped(occlusion, deformation, features)


def corner_grid(like_BCDHW: Tensor) -> Tensor:
    """Return coordinates [D, H, W, 3] whose -1 and 1 are the centres of the outermost cells.

    The checkpoints were trained with this grid and `align_corners=False` in sampling, which puts -1
    and 1 on the outer edges: the mismatch belongs to the network.
    """
    depth, height, width = like_BCDHW.shape[2:]
    axes = [torch.linspace(-1, 1, n).to(like_BCDHW) for n in (depth, height, width)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], -1)


def sparse_motions(grid_DHW3: Tensor, to_BK3: Tensor, from_BK3: Tensor) -> Tensor:
    """Return [B, 1 + K, D, H, W, 3]: the identity, then one shift a keypoint."""
    shift_BK3 = from_BK3 - to_BK3
    shifted = grid_DHW3 + shift_BK3[:, :, None, None, None]
    identity = grid_DHW3.expand(len(to_BK3), 1, *grid_DHW3.shape)
    return torch.cat([identity, shifted], 1)


def gaussians(grid_DHW3: Tensor, points_BK3: Tensor) -> Tensor:
    """Return [B, K, D, H, W]: one Gaussian bump a keypoint."""
    distance = (grid_DHW3 - points_BK3[:, :, None, None, None]).square().sum(-1)
    return torch.exp(-0.5 * distance / VARIANCE)


def _sample_each(volume_BCDHW: Tensor, motions_BMDHW3: Tensor) -> Tensor:
    """Return [B, M, C, D, H, W]: the volume moved by every motion."""
    motions = motions_BMDHW3.shape[1]
    moved = F.grid_sample(
        volume_BCDHW.repeat_interleave(motions, 0),
        motions_BMDHW3.flatten(0, 1),
        align_corners=False,
    )
    return moved.view(-1, motions, *moved.shape[1:])
