"""A patch discriminator that training may switch on late, when pictures move well and are only soft.

PatchGAN (Isola et al. 2017) with spectral norm (Miyato et al. 2018), hinge loss, and matching of
its features (Wang et al. 2018), which sharpens with fewer inventions than the score alone.
Shape suffixes: B batch, H and W pixels.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Score patches of pictures: above 0 looks real."""

    def __init__(self, width: int = 32) -> None:
        """Make the layers; `width` is the number of channels after the first."""
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(widths)
        )
        self.score = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores [B, 1, H/8, W/8] and the features of every layer."""
        features, x = [], x_B3HW * 2 - 1
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def critic_loss(critic: nn.Module, real_B3HW: Tensor, made_B3HW: Tensor) -> Tensor:
    """Return the hinge loss that the critic learns by."""
    real, _ = critic(real_B3HW)
    made, _ = critic(made_B3HW.detach())
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def deceive_loss(critic: nn.Module, real_B3HW: Tensor, made_B3HW: Tensor) -> Tensor:
    """Return what the student learns by: a high score, and features like those of the real picture."""
    with torch.no_grad():
        _, wanted = critic(real_B3HW)
    score, features = critic(made_B3HW)
    matching = torch.stack([(a - b).abs().mean() for a, b in zip(features, wanted, strict=True)])
    loss: Tensor = 5 * matching.mean() - score.mean()
    return loss
