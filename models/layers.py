"""The few kinds of layer that the student is built of: all convert, and all delegate whole.

Shape suffixes: B batch, C channels, H and W pixels, E embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution, batch norm (folded at export) and, unless told otherwise, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        *,
        padding: int | None = None,
        active: bool = True,
    ) -> None:
        """Make the layers; padding keeps the size at stride 1 unless it is given."""
        pad = kernel // 2 if padding is None else padding
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU6()] if active else []))


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside the identity."""

    def __init__(self, channels: int) -> None:
        """Make the block."""
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(channels, channels), ConvNorm(channels, channels, active=False)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x + f(x)."""
        y: Tensor = self.body(x_BCHW)
        return x_BCHW + y


class FilmResidual(nn.Module):
    """Two 3x3 convolutions, scaled and shifted per channel by an embedding between them.

    Feature-wise linear modulation: Perez et al. 2018. It starts as a plain residual block.
    """

    def __init__(self, channels: int, embed: int) -> None:
        """Make the block."""
        super().__init__()
        self.channels = channels
        self.first = nn.Conv2d(channels, channels, 3, 1, 1)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)
        self.film = nn.Linear(embed, 2 * channels)
        silence(self.film, std=0.01)

    def forward(self, x_BCHW: Tensor, e_BE: Tensor) -> Tensor:
        """Return x + f(x, e)."""
        film = self.film(e_BE).unsqueeze(2).unsqueeze(3)
        scale, shift = film[:, : self.channels], film[:, self.channels :]
        y = F.relu(self.first(x_BCHW)) * (1 + scale) + shift
        change: Tensor = self.second(F.relu(y))
        return x_BCHW + change


def silence(layer: nn.Conv2d | nn.Linear, std: float = 0.0) -> None:
    """Let a layer start with no bias and with weights of (almost) nothing."""
    with torch.no_grad():
        layer.weight.normal_(0, std) if std else layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()


def pixel_shuffle(x_BCHW: Tensor) -> Tensor:
    """Double the side: channels ordered (ry, rx, c) become a 2x2 patch.

    Unlike torch's own, no tensor on the way has more than 4 axes.
    """
    b, c, h, w = x_BCHW.shape
    rows = x_BCHW.permute(0, 2, 3, 1).reshape(b * h, w, 2, c // 2)
    return rows.permute(0, 2, 1, 3).reshape(b, 2 * h, 2 * w, c // 4).permute(0, 3, 1, 2)


def double(x_BCHW: Tensor) -> Tensor:
    """Double the side by bilinear interpolation."""
    return F.interpolate(x_BCHW, scale_factor=2.0, mode="bilinear", align_corners=False)


def spline_matrix(controls: int, side: int) -> Tensor:
    """Return [side, controls]: a row says how a smooth curve through control values is sampled."""
    eye = torch.eye(controls).view(1, controls, controls, 1)
    rows = F.interpolate(eye, size=(side, 1), mode="bicubic", align_corners=False)
    return rows[0, :, :, 0].T.contiguous()
