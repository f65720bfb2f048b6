"""Attention blocks that X-NeMo adds to Stable Diffusion's: over patches, motion tokens, and time.

Shape suffixes: B batch, F frames, C channels, H and W pixels, N tokens, M tokens of the context.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn


class AttentionBlock(nn.Module):
    """Attentions one after the other and a gated feed-forward, each after a norm and added."""

    def __init__(
        self, width: int, heads: int, attentions: int, context: int | None = None, frames: int = 0
    ) -> None:
        """Make the layers.

        Args:
            width: channels of a token.
            heads: of each attention.
            attentions: how many.
            context: width of the tokens that are looked at; None for self attention.
            frames: the longest row of frames, where tokens are frames and carry their number.

        """
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            Attention(width, context, heads=heads, dim_head=width // heads)
            for _ in range(attentions)
        )
        if frames:
            for attention in self.attention_blocks:
                attention.add_module("pos_encoder", FrameNumbers(frames, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(attentions))
        self.ff = FeedForward(width, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(width)

    def forward(self, x_BNC: Tensor, context_BMC: Tensor | None = None) -> Tensor:
        """Return the same shape."""
        attention: Any
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            seen = norm(x_BNC)
            if hasattr(attention, "pos_encoder"):
                seen = attention.pos_encoder(seen)
            x_BNC = x_BNC + attention(seen, encoder_hidden_states=context_BMC)
        fed: Tensor = x_BNC + self.ff(self.ff_norm(x_BNC))
        return fed


class FrameNumbers(nn.Module):
    """Sines and cosines of a frame's number, one after the other."""

    pe: Tensor

    def __init__(self, frames: int, width: int) -> None:
        """Make the table [1, frames, width]."""
        super().__init__()
        self.register_buffer("pe", interleaved_rows(frames, width)[None])

    def forward(self, x_BFC: Tensor) -> Tensor:
        """Return tokens that know their number."""
        return x_BFC + self.pe[:, : x_BFC.shape[1]]


def position_rows(count: int, width: int) -> Tensor:
    """Return [count, width]: sines of 0, 1, ... at falling frequencies, then their cosines."""
    return torch.cat(_waves(count, width), 1).float()


def interleaved_rows(count: int, width: int) -> Tensor:
    """Return [count, width]: as `position_rows`, but sine and cosine of a frequency side by side."""
    return torch.stack(_waves(count, width), 2).flatten(1).float()


def _waves(count: int, width: int) -> tuple[Tensor, Tensor]:
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10000.0) / half))
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.sin(angles), torch.cos(angles)
