"""The student: three graphs that a phone runs. The photo is encoded once, a frame costs motion + render.

Shape suffixes: B batch, C channels, H and W pixels, K code, E embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.models.dims import StudentDims
from pocketportrait.models.layers import (
    ConvNorm,
    FilmResidual,
    Residual,
    double,
    pixel_shuffle,
    silence,
    spline_matrix,
)
from pocketportrait.models.warp import RowColumnWarp

CONTROLS = 8  # the coarse fields are smooth surfaces through 8x8 control values
OPEN = 2.0  # a gate's logit at the start: most is kept
GREY = 0.5  # pictures are 0..1; the networks see them centred
POSE_SPREAD = (0.2, 0.13, 0.1, 0.095, 0.058, 0.11)  # of each pose value in portrait clips


class Appearance(nn.Module):
    """The photo becomes three maps: features to warp, features to aim with, shallow detail."""

    def __init__(self, dims: StudentDims) -> None:
        """Make the layers."""
        super().__init__()
        self.stem = ConvNorm(3, dims.stem, stride=2)
        self.down = nn.Sequential(
            ConvNorm(dims.stem, dims.features, stride=2),
            *(Residual(dims.features) for _ in range(dims.appearance_blocks)),
        )
        self.aim = ConvNorm(dims.features, dims.flow, stride=2)
        self.detail = nn.Conv2d(3, dims.skip, 2, 2)
        self.detail_stem = nn.Conv2d(dims.stem, dims.skip, 3, 1, 1)
        _start_as_subsampled_chroma(self.detail)
        silence(self.detail_stem)

    def forward(self, photo_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode photos, RGB 0..1.

        Returns:
            features at H/4, features_flow at H/8, features_skip at H/2.

        """
        x = photo_B3HW - GREY
        stem = self.stem(x)
        features = self.down(stem)
        return features, self.aim(features), self.detail(x) + self.detail_stem(stem)


class Motion(nn.Module):
    """A driving frame becomes a short code: head pose, then expression."""

    def __init__(self, dims: StudentDims) -> None:
        """Make the layers."""
        super().__init__()
        a, b, c, d, e = dims.motion
        self.body = nn.Sequential(
            ConvNorm(3, a, stride=2),
            ConvNorm(a, b, stride=2),
            ConvNorm(b, c, stride=2), Residual(c),
            ConvNorm(c, d, stride=2), Residual(d),
            ConvNorm(d, e, stride=2), Residual(e),
            ConvNorm(e, 32, 1),
        )  # fmt: skip
        # normalised: as a plain linear layer all but 15 of its 256 units had died (decision 0012)
        self.gather = ConvNorm(32, dims.motion_head, dims.side // 32, padding=0)
        self.head = nn.Linear(dims.motion_head, dims.code)

    def forward(self, frame_B3HW: Tensor) -> Tensor:
        """Encode driving frames, RGB 0..1, as codes [B, K]: 6 pose values, then expression."""
        code: Tensor = self.head(self.gather(self.body(frame_B3HW - GREY)).flatten(1))
        return code


class Rendered(NamedTuple):
    """What a pass of the renderer gives in training; deployment takes only the image."""

    image: Tensor  # B, 3, H, W, not yet clamped to 0..1
    fields: Tensor  # B, 2, H/4, W/4: dx, dy in pixels of that map, source minus destination
    fine_fields: Tensor  # the same for the shallow detail, after a second look at warped features
    kept: Tensor  # B, 1, H/4, W/4: how much of the shallow detail is kept, 0..1


class FlowNet(nn.Module):
    """Codes and aimed features become displacement fields, two gates and a guide at H/4."""

    coarse_to_eighth: Tensor
    coarse_to_quarter: Tensor
    seed_to_deep: Tensor

    def __init__(self, dims: StudentDims) -> None:
        """Make the layers; the refinement starts silent, so that the coarse fields move first."""
        super().__init__()
        self.seed_channels, self.quarter = dims.seed, dims.side // 4
        self.coarse = nn.Linear(dims.embed, 2 * CONTROLS**2, bias=False)
        self.coarse_linear = nn.Linear(dims.code, 2 * CONTROLS**2, bias=False)
        silence(self.coarse, std=0.002)
        silence(self.coarse_linear, std=0.002)
        self.seed = nn.Linear(dims.embed, dims.seed * CONTROLS**2)
        self.seed_in = nn.Conv2d(dims.seed, dims.flow_deep, 1)
        self.warp = RowColumnWarp(dims.side // 8)
        self.eighth = FilmResidual(dims.flow, dims.embed)
        self.down = nn.Conv2d(dims.flow, dims.flow_deep, 3, 2, 1)
        self.deep = nn.ModuleList(FilmResidual(dims.flow_deep, dims.embed) for _ in range(2))
        self.up_eighth = nn.Conv2d(dims.flow_deep, dims.flow, 3, 1, 1)
        self.eighth_again = FilmResidual(dims.flow, dims.embed)
        self.up_quarter = nn.Conv2d(dims.flow, dims.guide, 3, 1, 1)
        self.quarter_again = FilmResidual(dims.guide, dims.embed)
        silence(self.quarter_again.second, std=0.001)
        self.head = nn.Conv2d(dims.guide, 4, 3, 1, 1)
        silence(self.head, std=0.001)
        for name, side in (
            ("coarse_to_eighth", dims.side // 8),
            ("coarse_to_quarter", dims.side // 4),
        ):
            self.register_buffer(name, spline_matrix(CONTROLS, side), persistent=False)
        self.register_buffer(
            "seed_to_deep", spline_matrix(CONTROLS, dims.side // 16), persistent=False
        )

    def forward(
        self, aimed_BCHW: Tensor, change_BK: Tensor, e_BE: Tensor, still_BE: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return fields [B, 2, H/4, W/4] in pixels of that map, two gates and a guide there.

        The gates are logits of what is kept; the guide is what the blocks after the warp are told
        about places: where, in the picture to come, which part of the face is.

        Args:
            aimed_BCHW: from `Appearance`, at H/8.
            change_BK: driving code minus source code; where it is zero the coarse fields are zero.
            e_BE: embedding of the source code and the change.
            still_BE: embedding of the source code and no change.

        """
        coarse = self.coarse(e_BE - still_BE) + self.coarse_linear(change_BK)
        coarse = _at_least_float32(coarse.view(-1, 2, CONTROLS, CONTROLS))
        eighth = _sample(coarse, self.coarse_to_eighth) * (self.quarter // 2)
        quarter = _sample(coarse, self.coarse_to_quarter) * self.quarter
        seed = self.seed(e_BE).view(-1, self.seed_channels, CONTROLS, CONTROLS)
        x_eighth = self.eighth(self.warp(aimed_BCHW, eighth), e_BE)
        x = self.down(x_eighth) + _sample(self.seed_in(seed), self.seed_to_deep)
        x = F.relu(x)
        for block in self.deep:
            x = block(x, e_BE)
        x = F.relu(self.up_eighth(double(x))) + x_eighth
        x = self.eighth_again(x, e_BE)
        guide = F.relu(self.quarter_again(self.up_quarter(double(x)), e_BE))
        x = _at_least_float32(self.head(guide))
        return x[:, :2] + quarter, x[:, 2:] + OPEN, guide


class Render(nn.Module):
    """Features of the photo and two codes become the picture."""

    code_scale: Tensor

    def __init__(self, dims: StudentDims) -> None:
        """Make the layers; they start as "the photo, warped"."""
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(2 * dims.code, 192), nn.ReLU(), nn.Linear(192, dims.embed), nn.ReLU()
        )
        # a pose moves by tenths where expression values move by ones
        scale = [1 / spread for spread in POSE_SPREAD] + [1.0] * (dims.code - len(POSE_SPREAD))
        self.register_buffer("code_scale", torch.tensor([scale]), persistent=False)
        self.flow = FlowNet(dims)
        self.warp = RowColumnWarp(dims.side // 4)
        self.guide = nn.Conv2d(dims.guide, dims.features, 1)
        silence(self.guide, std=0.01)
        last = nn.Conv2d(dims.refine, 3, 3, 1, 1)
        silence(last, std=0.001)
        first = nn.Conv2d(dims.features, dims.refine, 3, 1, 1)
        self.refine = nn.Sequential(first, nn.ReLU(), last)
        self.warp_skip = RowColumnWarp(dims.side // 2)
        self.blocks = nn.ModuleList(
            FilmResidual(dims.features, dims.embed) for _ in range(dims.blocks)
        )
        self.up_half = nn.Conv2d(dims.features, 4 * dims.up, 3, 1, 1)
        self.mix = nn.Conv2d(dims.up + dims.skip, dims.mix, 3, 1, 1)
        self.up_full = nn.Conv2d(dims.mix, 4 * dims.out, 3, 1, 1)
        self.paint = nn.Conv2d(dims.out, 3, 3, 1, 1)
        self.copy = nn.Conv2d(dims.skip, 12, 1)
        silence(self.paint, std=0.01)
        _start_as_inverse_of_subsampled_chroma(self.copy)

    def embedding_readers(self) -> list[nn.Linear]:
        """Return all layers that read the embedding."""
        films = [part.film for part in self.modules() if isinstance(part, FilmResidual)]
        return [self.flow.coarse, self.flow.seed, *films]

    def draw(
        self,
        features: Tensor,
        features_flow: Tensor,
        features_skip: Tensor,
        source_code: Tensor,
        driving_code: Tensor,
    ) -> Rendered:
        """Render and keep what training looks at. Arguments as in `forward`."""
        out = self._paint(features, features_flow, features_skip, source_code, driving_code)
        return out._replace(image=out.image + GREY)

    def _paint(
        self,
        features: Tensor,
        features_flow: Tensor,
        features_skip: Tensor,
        source_code: Tensor,
        driving_code: Tensor,
    ) -> Rendered:
        """Render around zero instead of around grey."""
        change = (driving_code - source_code) * self.code_scale
        source = source_code * self.code_scale
        e = self.embed(torch.cat([source, change], 1))
        still = self.embed(torch.cat([source, torch.zeros_like(change)], 1))
        fields, gates, guide = self.flow(features_flow, change, e, still)
        x = self.warp(features, fields) * torch.sigmoid(gates[:, :1]) + self.guide(guide)
        for block in self.blocks:
            x = block(x, e)
        fine = _at_least_float32(self.refine(x))
        fine_fields = fields + fine[:, :2]
        kept = torch.sigmoid(gates[:, 1:] + fine[:, 2:])
        x = pixel_shuffle(F.relu(self.up_half(x)))
        half = double(torch.cat([fine_fields * 2, kept], 1))
        skip = self.warp_skip(features_skip, half[:, :2]) * half[:, 2:]
        mixed = F.relu(self.mix(torch.cat([x, skip], 1)))
        painted = self.paint(pixel_shuffle(F.relu(self.up_full(mixed))))
        return Rendered(painted + pixel_shuffle(self.copy(skip)), fields, fine_fields, kept)

    def forward(
        self,
        features: Tensor,
        features_flow: Tensor,
        features_skip: Tensor,
        source_code: Tensor,
        driving_code: Tensor,
    ) -> Tensor:
        """Render pictures.

        Args:
            features: from `Appearance`, at H/4.
            features_flow: from `Appearance`, at H/8.
            features_skip: from `Appearance`, at H/2.
            source_code: code of the photo [B, K].
            driving_code: code that the photo shall perform [B, K].

        Returns:
            image: [B, 3, H, W], RGB 0..1.

        """
        centred = self._paint(
            features, features_flow, features_skip, source_code, driving_code
        ).image
        # the same numbers as a clamp to 0..1, which TFLite makes an op that XNNPACK does not take
        return torch.clamp(centred, -GREY, GREY) + GREY


class Student(nn.Module):
    """The three graphs together, as they are trained."""

    def __init__(self, dims: StudentDims) -> None:
        """Make all three."""
        super().__init__()
        self.dims = dims
        self.appearance = Appearance(dims)
        self.motion = Motion(dims)
        self.render = Render(dims)

    def forward(self, photo_B3HW: Tensor, frame_B3HW: Tensor) -> Tensor:
        """Return the photos performing the frames, RGB 0..1."""
        maps = self.appearance(photo_B3HW)
        image: Tensor = self.render(*maps, self.motion(photo_B3HW), self.motion(frame_B3HW))
        return image


def _at_least_float32(x: Tensor) -> Tensor:
    """Widen what autocast narrowed; a float64 copy of the student stays float64."""
    return x if x.dtype == torch.float64 else x.float()


def _sample(control_BCHW: Tensor, matrix_SH: Tensor) -> Tensor:
    """Sample smooth surfaces through control values on a finer square grid.

    The constant is the second factor of both products: TFLite's GPU delegate takes no other.
    """
    across = matrix_SH.to(control_BCHW.dtype).T
    rows = torch.matmul(control_BCHW, across)
    return torch.matmul(rows.transpose(2, 3), across).transpose(2, 3)


# BT.601 luma, and two differences to it: full-resolution luma and half-resolution chroma are
# 6 of the 8 skip channels at H/2, so almost the whole photo travels in a third of its numbers.
_LUMA = (0.299, 0.587, 0.114)


def _start_as_subsampled_chroma(conv: nn.Conv2d) -> None:
    with torch.no_grad():
        weight = conv.weight
        weight[:] *= 0.1
        weight[:6] = 0
        assert conv.bias is not None
        conv.bias.zero_()
        luma = torch.tensor(_LUMA)
        for phase in range(4):
            weight[phase, :, phase // 2, phase % 2] = luma
        for channel, colour in ((4, 0), (5, 2)):
            difference = -luma.clone()
            difference[colour] += 1
            weight[channel] = difference.view(3, 1, 1) / 4


def _start_as_inverse_of_subsampled_chroma(conv: nn.Conv2d) -> None:
    red, green, blue = _LUMA
    with torch.no_grad():
        assert conv.bias is not None
        conv.bias.zero_()
        conv.weight.zero_()
        weight = conv.weight.view(4, 3, -1)  # phase, colour, skip channel
        for phase in range(4):
            weight[phase, :, phase] = 1
            weight[phase, 0, 4] = 1
            weight[phase, 2, 5] = 1
            weight[phase, 1, 4] = -red / green
            weight[phase, 1, 5] = -blue / green
