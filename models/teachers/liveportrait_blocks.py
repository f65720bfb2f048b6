"""Convolution with batch norm in two and three dimensions, as LivePortrait names and orders it.

Shape suffixes: B batch, C channels, D depth, H and W pixels. Attribute names are those of the
published checkpoints.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm2d(nn.Module):
    """Convolution 3x3, batch norm, (leaky) ReLU, and halving where asked."""

    def __init__(
        self, inputs: int, outputs: int, *, slope: float = 0.0, halve: bool = False
    ) -> None:
        """Make the layers; `slope` is that of negative values."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.slope, self.halves = slope, halve

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, outputs, H, W], or half of H and W."""
        x = F.leaky_relu(self.norm(self.conv(x_BCHW)), self.slope)
        return F.avg_pool2d(x, 2) if self.halves else x


class ConvNorm3d(nn.Module):
    """Convolution 3x3x3, batch norm, ReLU; H and W doubled before or halved after, D kept."""

    def __init__(
        self, inputs: int, outputs: int, *, halve: bool = False, double: bool = False
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs)
        self.halves, self.doubles = halve, double

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return [B, outputs, D, H, W] with H and W as asked."""
        if self.doubles:
            x_BCDHW = F.interpolate(x_BCDHW, scale_factor=(1, 2, 2), mode="nearest")
        x = F.relu(self.norm(self.conv(x_BCDHW)))
        return F.avg_pool3d(x, (1, 2, 2)) if self.halves else x


class Residual3d(nn.Module):
    """Twice batch norm, ReLU, convolution 3x3x3; added to what came in."""

    def __init__(self, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return the same shape."""
        x = self.conv1(F.relu(self.norm1(x_BCDHW)))
        return x_BCDHW + self.conv2(F.relu(self.norm2(x)))  # type: ignore[no-any-return]
