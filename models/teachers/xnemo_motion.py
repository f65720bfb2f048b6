"""X-NeMo's motion encoder: a face crop becomes 512 numbers, 32 tokens of 16.

The body is the face alignment network of Bulat and Tzimiropoulos (ICCV 2017), one hourglass, with self
attention over patches at three places.

Shape suffixes: B batch, F frames, C channels, H and W pixels, N tokens, E the code's length.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.models.teachers.xnemo_attention import (
    AttentionBlock,
    position_rows,
)

_DEPTH = 4  # of the hourglass
_GROUPS = 32


@dataclass(frozen=True, slots=True)
class MotionDims:
    """Sizes; the published ones unless said otherwise."""

    side: int = 224  # of the face crop in pixels
    stem: int = 64  # channels of the first convolution
    attention: int = 1024  # width of the attention over patches
    heads: int = 8
    landmarks: int = 68  # heat maps under the code
    code: int = 512
    token: int = 16  # numbers of one token
    box: int = 64  # width of the face box's branch; 0 where there is none


class DenseBlock(nn.Module):
    """Three convolutions, each on the one before; their outputs side by side, added to the input."""

    def __init__(self, narrow: int, wide: int) -> None:
        """Make the layers."""
        super().__init__()
        half, quarter = wide // 2, wide // 4
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv1 = nn.Conv2d(narrow, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.downsample = (
            nn.Sequential(nn.BatchNorm2d(narrow), nn.ReLU(), nn.Conv2d(narrow, wide, 1, bias=False))
            if narrow != wide
            else None
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same size with `wide` channels."""
        first = self.conv1(torch.relu(self.bn1(x_BCHW)))
        second = self.conv2(torch.relu(self.bn2(first)))
        third = self.conv3(torch.relu(self.bn3(second)))
        shortcut = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        added: Tensor = torch.cat([first, second, third], 1) + shortcut
        return added


class Hourglass(nn.Module):
    """Halve four times and come back, with a block beside every level."""

    def __init__(self, channels: int) -> None:
        """Make the blocks under the published names: b1 beside, b2 down, b3 up."""
        super().__init__()
        for level in range(_DEPTH, 0, -1):
            for name in (f"b1_{level}", f"b2_{level}", f"b3_{level}"):
                self.add_module(name, DenseBlock(channels, channels))
        self.add_module("b2_plus_1", DenseBlock(channels, channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        return self._level(_DEPTH, x_BCHW)

    def _level(self, level: int, x_BCHW: Tensor) -> Tensor:
        beside: Tensor = self.get_submodule(f"b1_{level}")(x_BCHW)
        low = self.get_submodule(f"b2_{level}")(F.max_pool2d(x_BCHW, 2))
        low = self._level(level - 1, low) if level > 1 else self.get_submodule("b2_plus_1")(low)
        low = self.get_submodule(f"b3_{level}")(low)
        # 7 pixels halve to 3: back to the size of the level, not to twice this one
        return beside + F.interpolate(low, size=beside.shape[-2:], mode="bilinear")


class PatchEmbedding(nn.Module):
    """Patches as tokens, with their places in the picture."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        """Make the projection."""
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, N, width]."""
        x = self.proj(x_BCHW)
        places = grid_positions(x.shape[-2], x.shape[-1], x.shape[1]).to(x)
        tokens: Tensor = x.flatten(2).transpose(1, 2) + places
        return tokens


class PatchAttention(nn.Module):
    """Self attention over the patches of a map; added to it."""

    def __init__(self, channels: int, width: int, patch: int, heads: int) -> None:
        """Make the layers."""
        super().__init__()
        self.patch = patch
        self.norm = nn.GroupNorm(_GROUPS, channels, eps=1e-6)
        self.pos_embed = PatchEmbedding(channels, width, patch)
        self.transformer_blocks = nn.ModuleList([AttentionBlock(width, heads, attentions=1)])
        self.proj_out = nn.Linear(width // patch**2, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the same shape."""
        height, width = (side // self.patch for side in x_BCHW.shape[-2:])
        tokens = self.pos_embed(self.norm(x_BCHW))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        pixels = tokens.view(len(tokens), height, width, self.patch, self.patch, -1)
        pixels = pixels.transpose(2, 3).flatten(1, 2).flatten(2, 3)
        added: Tensor = x_BCHW + self.proj_out(pixels).permute(0, 3, 1, 2)
        return added


class FaceNetwork(nn.Module):
    """[B, 3, 224, 224] in -1..1 -> [B, 512]."""

    def __init__(self, dims: MotionDims) -> None:
        """Make the layers."""
        super().__init__()
        stem, body, maps = dims.stem, 4 * dims.stem, dims.landmarks
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = DenseBlock(stem, 2 * stem)
        self.conv3 = DenseBlock(2 * stem, 2 * stem)
        self.conv4 = DenseBlock(2 * stem, body)
        self.m0 = Hourglass(body)
        self.top_m_0 = DenseBlock(body, body)
        self.conv_last0 = nn.Conv2d(body, body, 1)
        self.l0 = nn.Conv2d(body, maps, 1)
        self.bn_end0 = nn.BatchNorm2d(body)
        self.conv6 = nn.Conv2d(maps, 1, 3, 2, 1)
        self.fc = nn.Linear((dims.side // 8) ** 2, dims.code)
        self.bn5 = nn.BatchNorm2d(maps)
        self.att_1 = PatchAttention(2 * stem, dims.attention, 4, dims.heads)
        self.att_2 = PatchAttention(body, dims.attention, 2, dims.heads)
        self.att_3 = PatchAttention(body, dims.attention, 2, dims.heads)

    def forward(self, face_B3HW: Tensor) -> Tensor:
        """Return [B, E]."""
        x = torch.relu(self.bn1(self.conv1(face_B3HW)))
        x = self.att_1(self.conv2(x))
        x = self.conv4(self.conv3(F.max_pool2d(x, 2)))
        x = self.top_m_0(self.m0(self.att_2(x)))
        x = self.att_3(self.bn_end0(self.conv_last0(x)))
        x = torch.relu(self.bn5(self.l0(torch.relu(x))))
        code: Tensor = self.fc(torch.relu(self.conv6(x).flatten(1)))
        return code


class MotionEncoder(nn.Module):
    """[B, 3, F, 224, 224] in -1..1, and face boxes -> [B, F, 32, 16]."""

    pe: Tensor

    def __init__(self, dims: MotionDims | None = None) -> None:
        """Make the layers; without a box branch these are PersonaLive's."""
        super().__init__()
        dims = dims or MotionDims()
        self.dims = dims
        self.model = FaceNetwork(dims)
        if dims.box:
            self.bbox_proj = nn.Sequential(
                nn.Linear(3, dims.box), nn.ReLU(), nn.Dropout(), nn.Linear(dims.box, dims.box)
            )
        self.final_proj = nn.Linear(dims.code + dims.box, dims.code)
        tokens = dims.code // dims.token
        self.register_buffer("pe", position_rows(tokens, dims.token)[None])

    def face_code(self, faces_B3FHW: Tensor) -> Tensor:
        """Return [B, F, E]: what the face says before the box is joined."""
        batch = len(faces_B3FHW)
        code: Tensor = self.model(faces_B3FHW.transpose(1, 2).flatten(0, 1))
        return code.view(batch, -1, self.dims.code)

    def forward(self, faces_B3FHW: Tensor, boxes_BF3: Tensor | None = None) -> Tensor:
        """Return motion tokens.

        Args:
            faces_B3FHW: RGB in -1..1, squares of `dims.side`.
            boxes_BF3: x and y of the face and its scale, against the photo's; where there is a branch.

        """
        code = self.face_code(faces_B3FHW)
        if boxes_BF3 is not None:
            code = torch.cat([code, self.bbox_proj(boxes_BF3)], 2)
        tokens: Tensor = self.final_proj(code)
        return tokens.view(*tokens.shape[:2], *self.pe.shape[1:]) + self.pe[:, None]


@functools.cache
def grid_positions(height: int, width: int, channels: int) -> Tensor:
    """Return [1, height * width, channels]: the column in the first half, the row in the second."""
    with torch.device("cpu"):
        columns = position_rows(width, channels // 2)[None].expand(height, -1, -1)
        rows = position_rows(height, channels // 2)[:, None].expand(-1, width, -1)
        return torch.cat([columns, rows], 2).reshape(1, height * width, channels)
