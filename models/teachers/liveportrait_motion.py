"""LivePortrait's motion extractor: a ConvNeXt V2 (tiny) with seven linear heads.

Shape suffixes: B batch, C channels, H and W pixels. ConvNeXt V2: Woo et al., CVPR 2023.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINTS = 21
ANGLE_BINS = 66
_WIDTHS = (96, 192, 384, 768)
_DEPTHS = (3, 3, 9, 3)
_EPSILON = 1e-6


class Motion(NamedTuple):
    """What the network says of pictures; angles are logits over 66 bins of 3 degrees."""

    pitch: Tensor  # B, 66
    yaw: Tensor  # B, 66
    roll: Tensor  # B, 66
    t: Tensor  # B, 3
    exp: Tensor  # B, 63: displacements of the 21 keypoints
    scale: Tensor  # B, 1
    kp: Tensor  # B, 63: the 21 canonical keypoints


class ResponseNorm(nn.Module):
    """Global response normalisation: a channel's energy over the picture, against the others'."""

    def __init__(self, channels: int) -> None:
        """Make scale and shift."""
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Return the same shape."""
        energy = torch.linalg.vector_norm(x_BHWC, dim=(1, 2), keepdim=True)
        relative = energy / (energy.mean(-1, keepdim=True) + _EPSILON)
        normed: Tensor = self.gamma * (x_BHWC * relative) + self.beta + x_BHWC
        return normed


class ConvNextBlock(nn.Module):
    """Depthwise 7x7, layer norm, widen four times, GELU, response norm, narrow; added."""

    def __init__(self, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPSILON)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        x_BHWC = self.norm(self.dwconv(x_BCHW).permute(0, 2, 3, 1))
        x_BHWC = self.pwconv2(self.grn(F.gelu(self.pwconv1(x_BHWC))))
        added: Tensor = x_BCHW + x_BHWC.permute(0, 3, 1, 2)
        return added


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        """Make scale and shift."""
        super().__init__(channels, eps=_EPSILON)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """The body and its heads."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, _WIDTHS[0], 4, 4), ChannelNorm(_WIDTHS[0]))]
        )
        for narrow, wide in pairwise(_WIDTHS):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(narrow), nn.Conv2d(narrow, wide, 2, 2))
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(width) for _ in range(depth)))
            for width, depth in zip(_WIDTHS, _DEPTHS, strict=True)
        )
        last = _WIDTHS[-1]
        self.norm = nn.LayerNorm(last, eps=_EPSILON)
        self.fc_kp = nn.Linear(last, 3 * KEYPOINTS)
        self.fc_scale = nn.Linear(last, 1)
        self.fc_pitch = nn.Linear(last, ANGLE_BINS)
        self.fc_yaw = nn.Linear(last, ANGLE_BINS)
        self.fc_roll = nn.Linear(last, ANGLE_BINS)
        self.fc_t = nn.Linear(last, 3)
        self.fc_exp = nn.Linear(last, 3 * KEYPOINTS)

    def forward(self, picture_B3HW: Tensor) -> Motion:
        """Return the seven heads of pictures, RGB 0..1."""
        x = picture_B3HW
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        x = self.norm(x.mean((2, 3)))
        return Motion(
            pitch=self.fc_pitch(x), yaw=self.fc_yaw(x), roll=self.fc_roll(x),
            t=self.fc_t(x), exp=self.fc_exp(x), scale=self.fc_scale(x), kp=self.fc_kp(x),
        )  # fmt: skip


class MotionExtractor(nn.Module):
    """[B, 3, 256, 256] in 0..1 -> `Motion`; 28.1 M parameters, 11.6 GFLOP."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.detector = ConvNext()

    def forward(self, picture_B3HW: Tensor) -> Motion:
        """Return pose, expression and canonical keypoints of pictures, RGB 0..1."""
        motion: Motion = self.detector(picture_B3HW)
        return motion
