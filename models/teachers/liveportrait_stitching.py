"""LivePortrait's three small networks on keypoints: stitching, eye and lip retargeting."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from pocketportrait.models.teachers.liveportrait_motion import KEYPOINTS

_FLAT = 3 * KEYPOINTS


class KeypointNetwork(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        """Make the layers; the first width is the input's, the last the output's."""
        super().__init__()
        self.mlp = nn.Sequential()
        for a, b in pairwise(widths):
            self.mlp.extend([nn.Linear(a, b), nn.ReLU()])
        del self.mlp[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, last width] of [B, first width]."""
        y: Tensor = self.mlp(x)
        return y


def stitching_network() -> KeypointNetwork:
    """Source and driving keypoints (126) -> 63 offsets and a shift in x and y."""
    return KeypointNetwork(2 * _FLAT, 128, 128, 64, _FLAT + 2)


def lip_network() -> KeypointNetwork:
    """Keypoints, the photo's lip ratio and the wanted one (65) -> 63 offsets."""
    return KeypointNetwork(_FLAT + 2, 128, 128, 64, _FLAT)


def eye_network() -> KeypointNetwork:
    """Keypoints, the photo's two eye ratios and the wanted one (66) -> 63 offsets."""
    return KeypointNetwork(_FLAT + 3, 256, 256, 128, 128, 64, _FLAT)


def stitch(network: nn.Module, source_BK3: Tensor, driving_BK3: Tensor) -> Tensor:
    """Return driving keypoints that leave the shoulders of the photo where they are."""
    both = [source_BK3.flatten(1), driving_BK3.flatten(1)]
    offsets: Tensor = network(torch.cat(both, 1))
    stitched = driving_BK3 + offsets[:, :_FLAT].view_as(driving_BK3)
    stitched[..., :2] += offsets[:, None, _FLAT:]
    return stitched


def retarget(network: nn.Module, source_BK3: Tensor, *ratios_B1: Tensor) -> Tensor:
    """Return offsets [B, K, 3] that take eyes or lips from the photo's ratios to the wanted one."""
    offsets: Tensor = network(torch.cat([source_BK3.flatten(1), *ratios_B1], 1))
    return offsets.view_as(source_BK3)
