"""LivePortrait's generator: warped features become the picture, at twice the photo's side.

Shape suffixes: B batch, C channels, H and W pixels. Spatially adaptive normalisation: Park et al.,
CVPR 2019. Weights are kept as the spectral-norm triples of the published checkpoint.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEATURES, _HIDDEN = 256, 128
_LEAK = 0.2
_MIDDLE = 6


class SpectralConv2d(nn.Module):
    """A convolution divided by its largest singular value, which `weight_u` and `weight_v` give."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, *, bias: bool = True) -> None:
        """Make weights of a `side` x `side` kernel."""
        super().__init__()
        self.weight_orig = nn.Parameter(torch.zeros(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("weight_u", torch.zeros(outputs))
        self.register_buffer("weight_v", torch.zeros(inputs * side * side))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, outputs, H, W]."""
        sigma = torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)
        weight = self.weight_orig / sigma
        return F.conv2d(x_BCHW, weight, self.bias, padding=weight.shape[-1] // 2)


class AdaptiveNorm(nn.Module):
    """Instance norm whose scale and shift are painted by the features."""

    def __init__(self, channels: int) -> None:
        """Make the layers."""
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(_FEATURES, _HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(_HIDDEN, channels, 3, padding=1)
        self.mlp_beta = nn.Conv2d(_HIDDEN, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor, features_BCHW: Tensor) -> Tensor:
        """Return the shape of `x`; features of another size are repeated to it."""
        hidden = self.mlp_shared(F.interpolate(features_BCHW, size=x_BCHW.shape[2:]))
        normed = F.instance_norm(x_BCHW) * (1 + self.mlp_gamma(hidden))
        painted: Tensor = normed + self.mlp_beta(hidden)
        return painted


class AdaptiveResidual(nn.Module):
    """Twice adaptive norm, leaky ReLU, spectral convolution; the shortcut is learned if wide."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make the layers."""
        super().__init__()
        middle = min(inputs, outputs)
        self.conv_0 = SpectralConv2d(inputs, middle, 3)
        self.conv_1 = SpectralConv2d(middle, outputs, 3)
        self.norm_0 = AdaptiveNorm(inputs)
        self.norm_1 = AdaptiveNorm(middle)
        self.narrows = inputs != outputs
        if self.narrows:
            self.conv_s = SpectralConv2d(inputs, outputs, 1, bias=False)
            self.norm_s = AdaptiveNorm(inputs)

    def forward(self, x_BCHW: Tensor, features_BCHW: Tensor) -> Tensor:
        """Return [B, outputs, H, W]."""
        x = self.conv_0(F.leaky_relu(self.norm_0(x_BCHW, features_BCHW), _LEAK))
        x = self.conv_1(F.leaky_relu(self.norm_1(x, features_BCHW), _LEAK))
        if self.narrows:
            x_BCHW = self.conv_s(self.norm_s(x_BCHW, features_BCHW))
        return x_BCHW + x  # type: ignore[no-any-return]


class SpadeGenerator(nn.Module):
    """[B, 256, 64, 64] -> [B, 3, 512, 512] in 0..1; 55.4 M parameters, 892 GFLOP."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.fc = nn.Conv2d(_FEATURES, 512, 3, padding=1)
        for index in range(_MIDDLE):
            self.add_module(f"G_middle_{index}", AdaptiveResidual(512, 512))
        self.up_0 = AdaptiveResidual(512, 256)
        self.up_1 = AdaptiveResidual(256, 64)
        self.conv_img = nn.Sequential(nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return the pictures, RGB 0..1, at eight times the side of the features."""
        x = self.fc(features_BCHW)
        for index in range(_MIDDLE):
            x = self.get_submodule(f"G_middle_{index}")(x, features_BCHW)
        for block in (self.up_0, self.up_1):
            x = block(F.interpolate(x, scale_factor=2), features_BCHW)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, _LEAK)))
