"""X-NeMo's UNets: Stable Diffusion 1.5's, with modules for motion and for time after every layer.

PersonaLive's are the same. Residual blocks, attentions and resampling are those of `diffusers`, frames
lying in the batch.

Shape suffixes: B batch, F frames, N = B * F pictures, C channels, H and W latent pixels, T tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from pocketportrait.models.teachers.xnemo_layers import (
    GROUPS,
    Bank,
    MotionModule,
    Pass,
    SpatialTransformer,
    TimeModule,
    UNetDims,
)


class Stage(nn.Module):
    """Layers at one resolution: residual block, transformer, motion module, time module."""

    def __init__(
        self, inputs: list[int], width: int, dims: UNetDims, *, attends: bool, animated: bool
    ) -> None:
        """Make a layer for each width in `inputs`."""
        super().__init__()
        modules = len(inputs)
        self.resnets = nn.ModuleList(
            ResnetBlock2D(
                in_channels=narrow, out_channels=width, temb_channels=4 * dims.channels[0], eps=1e-5
            )
            for narrow in inputs
        )
        if attends:
            self.attentions = nn.ModuleList(SpatialTransformer(width, dims) for _ in range(modules))
        if animated:
            self.motion_modules = nn.ModuleList(MotionModule(width, dims) for _ in range(modules))
            self.temporal_modules = nn.ModuleList(TimeModule(width, dims) for _ in range(modules))
        self._attends, self._animated = attends, animated

    def layer(self, index: int, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Run one layer."""
        x = self.resnets[index](x_NCHW, run.time_NC)
        return self.after(index, x, run)

    def after(self, index: int, x: Tensor, run: Pass) -> Tensor:
        """Run what follows a layer's residual block."""
        if self._attends:
            x = self.attentions[index](x, run)
        if self._animated:
            x = self.temporal_modules[index](self.motion_modules[index](x, run), run)
        return x


class DownStage(Stage):
    """Layers, then half the size."""

    def __init__(self, inputs: list[int], width: int, dims: UNetDims, *, attends: bool,
                 animated: bool, last: bool) -> None:  # fmt: skip
        """Make the layers."""
        super().__init__(inputs, width, dims, attends=attends, animated=animated)
        self._last = last
        if not last:
            self.downsamplers = nn.ModuleList(
                [Downsample2D(width, use_conv=True, out_channels=width, name="op")]
            )

    def forward(self, x_NCHW: Tensor, run: Pass) -> list[Tensor]:
        """Return every layer's picture; the last goes on."""
        kept = []
        for index in range(len(self.resnets)):
            x_NCHW = self.layer(index, x_NCHW, run)
            kept.append(x_NCHW)
        if not self._last:
            kept.append(self.downsamplers[0](x_NCHW))
        return kept


class MiddleStage(Stage):
    """A residual block before the transformer and modules, and one after."""

    def __init__(self, width: int, dims: UNetDims, *, animated: bool) -> None:
        """Make the layers."""
        super().__init__([width], width, dims, attends=True, animated=animated)
        self.resnets.append(
            ResnetBlock2D(in_channels=width, temb_channels=4 * dims.channels[0], eps=1e-5)
        )

    def forward(self, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Return the same shape."""
        out: Tensor = self.resnets[1](self.layer(0, x_NCHW, run), run.time_NC)
        return out


class UpStage(Stage):
    """Layers that join what the way down kept, then twice the size."""

    def __init__(self, inputs: list[int], width: int, dims: UNetDims, *, attends: bool,
                 animated: bool, last: bool) -> None:  # fmt: skip
        """Make the layers."""
        super().__init__(inputs, width, dims, attends=attends, animated=animated)
        self._last = last
        if not last:
            self.upsamplers = nn.ModuleList([Upsample2D(width, use_conv=True, out_channels=width)])

    def forward(self, x_NCHW: Tensor, kept: list[Tensor], run: Pass) -> Tensor:
        """Return the larger picture; takes its layers' share off the end of `kept`."""
        for index in range(len(self.resnets)):
            x_NCHW = self.layer(index, torch.cat([x_NCHW, kept.pop()], 1), run)
        if not self._last:
            x_NCHW = self.upsamplers[0](x_NCHW)
        return x_NCHW


class UNet(nn.Module):
    """What both networks share: down, through the middle, and up."""

    def __init__(self, dims: UNetDims, *, animated: bool) -> None:
        """Make the layers; all stages but the lowest attend."""
        super().__init__()
        self.dims = dims
        widths, first = dims.channels, dims.channels[0]
        self.conv_in = nn.Conv2d(dims.latent, first, 3, padding=1)
        self.time_proj = Timesteps(first, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(first, 4 * first)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        kept, lowest = [first], len(widths) - 1
        for level, width in enumerate(widths):
            inputs = [kept[-1]] + [width] * (dims.layers - 1)
            last = level == lowest
            self.down_blocks.append(
                DownStage(inputs, width, dims, attends=not last, animated=animated, last=last)
            )
            kept += [width] * (dims.layers + (not last))
        self.mid_block = MiddleStage(widths[-1], dims, animated=animated)
        before = widths[-1]
        for level, width in enumerate(reversed(widths)):
            inputs = [
                (before if index == 0 else width) + kept.pop() for index in range(dims.layers + 1)
            ]
            self.up_blocks.append(
                UpStage(inputs, width, dims, attends=level > 0, animated=animated,
                        last=level == lowest)
            )  # fmt: skip
            before = width

    def embed_time(self, timesteps: Tensor, pictures: int) -> Tensor:
        """Return [pictures, 4 * C] of one timestep, or of one for each picture."""
        waves = self.time_proj(timesteps.expand(pictures)).to(self.conv_in.weight.dtype)
        embedded: Tensor = self.time_embedding(waves)
        return embedded

    def body(self, x_NCHW: Tensor, run: Pass) -> Tensor:
        """Run everything between the first convolution and the head."""
        kept = [x_NCHW]
        for stage in self.down_blocks:
            kept += stage(kept[-1], run)
        x: Tensor = self.mid_block(kept[-1], run)
        for stage in self.up_blocks:
            x = stage(x, kept, run)
        return x


class ReferenceUNet(UNet):
    """Runs once on the photo, for the tokens of its self attentions; 859.5 M parameters."""

    def __init__(self, dims: UNetDims | None = None) -> None:
        """Make the layers, without a head."""
        super().__init__(dims or UNetDims(), animated=False)

    def forward(self, latent_14HW: Tensor, context_1TC: Tensor) -> tuple[Tensor, Bank]:
        """Return features and the tokens, both of timestep 0."""
        time = self.embed_time(latent_14HW.new_zeros(1), 1)
        run = Pass(time, context_1TC)
        features = self.body(self.conv_in(latent_14HW), run)
        return features, tuple(run.tokens)


class DenoisingUNet(UNet):
    """Says the noise in latent frames; 1,684.8 M parameters."""

    def __init__(self, dims: UNetDims | None = None) -> None:
        """Make the layers."""
        super().__init__(dims or UNetDims(), animated=True)
        first = self.dims.channels[0]
        self.conv_norm_out = nn.GroupNorm(GROUPS, first, eps=1e-5)
        self.conv_out = nn.Conv2d(first, self.dims.latent, 3, padding=1)

    def forward(
        self,
        latent_B4FHW: Tensor,
        timesteps: Tensor,
        context_1TC: Tensor,
        motion_BFTC: Tensor,
        bank: Bank | None = None,
        pose_BCFHW: Tensor | None = None,
    ) -> Tensor:
        """Return the noise, [B, 4, F, H, W].

        Args:
            latent_B4FHW: noisy latents; at most `dims.frames` frames, sides of a multiple of 8.
            timesteps: [1], or [B * F] where frames are at different ones.
            context_1TC: the photo's embedding.
            motion_BFTC: motion tokens of every frame.
            bank: the reference network's tokens; None leaves the photo out.
            pose_BCFHW: added to the first features.

        """
        batch, _, frames = latent_B4FHW.shape[:3]
        x = self.conv_in(latent_B4FHW.transpose(1, 2).flatten(0, 1))
        if pose_BCFHW is not None:
            x = x + pose_BCFHW.transpose(1, 2).flatten(0, 1)
        run = Pass(
            self.embed_time(timesteps, batch * frames),
            context_1TC.expand(batch * frames, -1, -1),
            motion_BFTC.flatten(0, 1),
            frames,
            iter(bank) if bank is not None else None,
        )
        x = self.conv_out(F.silu(self.conv_norm_out(self.body(x, run))))
        noise: Tensor = x.unflatten(0, (batch, frames)).transpose(1, 2)
        return noise


def token_blocks(dims: UNetDims) -> list[str]:
    """Return the published names of the blocks whose tokens a bank holds, in its order."""
    lowest = len(dims.channels) - 1
    down = [
        f"down_blocks.{stage}.attentions.{layer}"
        for stage in range(lowest)
        for layer in range(dims.layers)
    ]
    up = [
        f"up_blocks.{stage}.attentions.{layer}"
        for stage in range(1, lowest + 1)
        for layer in range(dims.layers + 1)
    ]
    return [f"{name}.transformer_blocks.0" for name in (*down, "mid_block.attentions.0", *up)]
