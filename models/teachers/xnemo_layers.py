"""What X-NeMo's UNets are made of, beside residual blocks: attention to the photo, to motion, and to time.

Attentions are those of `diffusers`; frames lie in the batch.

Shape suffixes: B batch, F frames, N = B * F pictures, C channels, H and W latent pixels, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from pocketportrait.models.teachers.xnemo_attention import AttentionBlock

GROUPS = 32  # of every group norm

Bank = tuple[Tensor, ...]  # [1, T, C] of each self attention, in the order in which a network runs


@dataclass(frozen=True, slots=True)
class UNetDims:
    """Sizes; the published ones unless said otherwise."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2  # of a stage going down; one more coming up
    heads: int = 8
    latent: int = 4  # channels of a latent picture
    context: int = 768  # width of the picture's embedding
    motion: int = 16  # width of a motion token
    frames: int = 32  # the most that the time modules can count


@dataclass(slots=True)
class Pass:
    """What a run through a network carries beside the picture."""

    time_NC: Tensor
    context_NTC: Tensor
    motion_NTC: Tensor | None = None
    frames: int = 1
    reference: Iterator[Tensor] | None = None
    tokens: list[Tensor] = field(default_factory=list)  # taken from every self attention


class SpatialTransformer(nn.Module):
    """Stable Diffusion's, but self attention may also look at the tokens of the reference picture."""

    def __init__(self, width: int, dims: UNetDims) -> None:
        """Make the layers."""
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(
            [
                BasicTransformerBlock(
                    width, dims.heads, width // dims.heads, cross_attention_dim=dims.context
                )
            ]
        )
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Return the same shape; leave this block's own tokens in `run`."""
        size = x_NCHW.shape[-2:]
        x = self.proj_in(self.norm(x_NCHW)).flatten(2).transpose(1, 2)
        block: Any
        for block in self.transformer_blocks:
            own = seen = block.norm1(x)
            run.tokens.append(own)
            if run.reference is not None:
                seen = torch.cat([own, next(run.reference).expand(len(own), -1, -1)], 1)
            x = x + block.attn1(own, encoder_hidden_states=seen)
            x = x + block.attn2(block.norm2(x), encoder_hidden_states=run.context_NTC)
            x = x + block.ff(block.norm3(x))
        added: Tensor = x_NCHW + self.proj_out(x.transpose(1, 2).unflatten(2, size))
        return added


class TokenTransformer(nn.Module):
    """A norm, a projection, two attentions, and the way back."""

    def __init__(self, width: int, block: AttentionBlock) -> None:
        """Make the layers around `block`."""
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Linear(width, width)


class MotionModule(nn.Module):
    """Every place of a frame looks at the frame's motion tokens."""

    def __init__(self, width: int, dims: UNetDims) -> None:
        """Make the layers."""
        super().__init__()
        block = AttentionBlock(width, dims.heads, attentions=2, context=dims.motion)
        self.temporal_transformer = TokenTransformer(width, block)

    def forward(self, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Return the same shape."""
        inner = self.temporal_transformer
        x = inner.proj_in(inner.norm(x_NCHW).flatten(2).transpose(1, 2))
        x = inner.transformer_blocks[0](x, run.motion_NTC)
        x = inner.proj_out(x).transpose(1, 2)
        added: Tensor = x_NCHW + x.unflatten(2, x_NCHW.shape[-2:])
        return added


class TimeModule(nn.Module):
    """Every place looks at itself in the other frames."""

    def __init__(self, width: int, dims: UNetDims) -> None:
        """Make the layers."""
        super().__init__()
        block = AttentionBlock(width, dims.heads, attentions=2, frames=dims.frames)
        self.temporal_transformer = TokenTransformer(width, block)

    def forward(self, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Return the same shape."""
        inner, size = self.temporal_transformer, x_NCHW.shape[-2:]
        x = inner.norm(x_NCHW).unflatten(0, (-1, run.frames)).flatten(3)  # B, F, C, HW
        batch = len(x)
        x = inner.proj_in(x.permute(0, 3, 1, 2).flatten(0, 1))
        x = inner.proj_out(inner.transformer_blocks[0](x))
        x = x.unflatten(0, (batch, -1)).permute(0, 2, 3, 1).flatten(0, 1)
        added: Tensor = x_NCHW + x.unflatten(2, size)
        return added
