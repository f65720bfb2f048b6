"""How PersonaLive tells the head's pose: seven of LivePortrait's keypoints, drawn as discs.

Shape suffixes: B batch, F frames, K keypoints, C channels, H and W pixels.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.errors import InputError
from pocketportrait.models.teachers.liveportrait_keypoints import Pose, rotation
from pocketportrait.models.teachers.liveportrait_motion import ANGLE_BINS, MotionExtractor

DRAWN = (1, 2, 3, 4, 12, 15, 20)  # keypoints
_COLOURS = (
    (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 85),
)  # fmt: skip
_RADIUS = 4 / 512  # of a disc, in sides of the picture
_SHARE = 0.5  # of the driver's way through the picture that the photo goes
_FACE_SIDE = 3.4  # of a face square, in heights of the keypoints' middle above the topmost
_FACE_BEFORE, _FACE_AFTER = 0.475, 0.525  # how a square lies around that middle

_WIDTHS = (16, 16, 32, 32, 96, 96, 256)


class PoseExtractor(MotionExtractor):
    """LivePortrait's motion extractor, with the numbers of its angle bins in the checkpoint."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.register_buffer("idx_tensor", torch.arange(ANGLE_BINS, dtype=torch.float32))


class PoseGuider(nn.Module):
    """Drawn keypoints [B, 3, F, H, W] in 0..1 -> features [B, C, F, H/8, W/8]; 1.1 M parameters."""

    def __init__(self, channels: int = 320) -> None:
        """Make the layers."""
        super().__init__()
        self.conv_in = nn.Conv2d(3, _WIDTHS[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, stride=1 + index % 2, padding=1)
            for index, (narrow, wide) in enumerate(itertools.pairwise(_WIDTHS))
        )
        self.conv_out_modify = nn.Conv2d(_WIDTHS[-1], channels, 3, padding=1)

    def forward(self, drawn_B3FHW: Tensor) -> Tensor:
        """Return what is added to the denoising network's first features."""
        batch = len(drawn_B3FHW)
        x = F.silu(self.conv_in(drawn_B3FHW.transpose(1, 2).flatten(0, 1)))
        for block in self.blocks:
            x = F.silu(block(x))
        features: Tensor = self.conv_out_modify(x)
        return features.view(batch, -1, *features.shape[1:]).transpose(1, 2)


def rigid(pose: Pose) -> Tensor:
    """Return keypoints [B, K, 3] without any expression."""
    return pose._replace(expression_BK3=torch.zeros_like(pose.expression_BK3)).keypoints()


def driven(photo: Pose, driving: Pose, first: Pose) -> Pose:
    """Return the photo's face with the driver's rotation, and half of the way it went."""
    frames = len(driving.angles_B3)
    moved = photo.translation_B3 + _SHARE * (driving.translation_B3 - first.translation_B3)
    return Pose(
        angles_B3=driving.angles_B3,
        rotation_B33=driving.rotation_B33,
        translation_B3=moved,
        expression_BK3=driving.expression_BK3,
        scale_B1=photo.scale_B1.expand(frames, -1),
        canonical_BK3=photo.canonical_BK3.expand(frames, -1, -1),
    )


def approach(photo: Pose, first: Pose, frames: int) -> Pose:
    """Return `frames` poses from the photo's towards the driver's first, which is not among them."""
    share = torch.arange(frames, device=photo.angles_B3.device)[:, None] / frames
    angles = (1 - share) * photo.angles_B3 + share * first.angles_B3
    return driven(
        photo,
        first._replace(
            angles_B3=angles,
            rotation_B33=rotation(angles),
            translation_B3=first.translation_B3.expand(frames, -1),
        ),
        first,
    )


def drawn(points_BK3: Tensor, side_px: int) -> Tensor:
    """Return discs on black, [B, 3, side, side] in 0..1; where they overlap, colours add up."""
    x, y = _pixels(points_BK3, side_px).unbind(2)  # B, 7
    places = torch.arange(side_px, device=points_BK3.device)
    across = (x[:, :, None, None] - places) ** 2
    down = (y[:, :, None, None] - places[:, None]) ** 2
    discs = (across + down <= (_RADIUS * side_px) ** 2).float()
    colours = torch.tensor(_COLOURS, device=points_BK3.device) / 255
    return torch.einsum("bkhw,kc->bchw", discs, colours).clamp(0, 1)


def face_boxes(points_BK3: Tensor, side_px: int) -> Tensor:
    """Return where faces are, [B, 4] whole pixels: left, top, right, bottom, inside the picture."""
    x, y = _pixels(points_BK3, side_px).float().unbind(2)
    x_middle, y_middle = x.mean(1), y.mean(1)
    side = _FACE_SIDE * (y_middle - y.amin(1))
    edges = [
        x_middle - _FACE_BEFORE * side, y_middle - _FACE_BEFORE * side,
        x_middle + _FACE_AFTER * side, y_middle + _FACE_AFTER * side,
    ]  # fmt: skip
    return torch.stack(edges, 1).clamp(0, side_px - 1).long()


def cut_faces(pictures_B3HW: Tensor, boxes_B4: Tensor, side_px: int) -> Tensor:
    """Return faces [B, 3, side, side], stretched where the picture's border cut them.

    Raises:
        InputError: a box is empty: there is no face that the keypoints could be of.

    """
    faces = []
    for index, (left, top, right, bottom) in enumerate(boxes_B4.tolist()):
        if right <= left or bottom <= top:
            raise InputError(
                f"picture {index}: want a face in it, got keypoints outside; frame the face larger"
            )
        face = pictures_B3HW[index : index + 1, :, top:bottom, left:right]
        faces.append(F.interpolate(face, (side_px, side_px), mode="bilinear", align_corners=False))
    return torch.cat(faces)


def _pixels(points_BK3: Tensor, side_px: int) -> Tensor:
    """Return the drawn keypoints' places, [B, 7, 2] whole pixels."""
    return ((points_BK3[:, DRAWN, :2] * 0.5 + 0.5) * side_px).long()
