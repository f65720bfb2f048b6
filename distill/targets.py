"""What the motion encoder learns from labels: a pose slice, and a head that only training has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.contract import POSE, Array
from pocketportrait.distill.labels import NOMINAL_RADIUS, ClipLabels, spread
from pocketportrait.models.student import POSE_SPREAD

SHAPE_UNIT = 0.06  # typical deviation of an aligned landmark, in face radii
BLEND_UNIT = 0.15  # typical deviation of a blendshape score

# MediaPipe's order of blendshapes: left/right pairs, for mirrored pictures
MIRROR_PAIRS = (
    (1, 2), (4, 5), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22),
    (24, 26),
    (28, 29), (30, 31), (33, 39), (34, 35), (36, 37), (44, 45), (46, 47), (48, 49), (50, 51),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Targets:
    """Regression targets of N frames, float32."""

    pose: Array  # [N, 6] in the order and units of the contract's POSE
    blendshapes: Array  # [N, 52], in units of BLEND_UNIT
    shape: Array  # [N, 956]: landmarks without pose and without the clip's mean, in SHAPE_UNITs

    @classmethod
    def of(cls, labels: ClipLabels) -> Targets:
        """Compute the targets of one clip.

        The clip's mean shape is taken out, because who somebody is must not enter a code.
        """
        centre, radius = spread(labels.points)
        scale = np.log(radius / NOMINAL_RADIUS)[:, None]
        pose = np.concatenate([labels.angles, centre - 0.5, scale], 1)
        aligned = (labels.points - centre[:, None]) / radius[:, None, None]
        aligned = rotate(aligned, -labels.angles[:, 2])
        aligned = (aligned - aligned.mean(axis=0)) / SHAPE_UNIT
        flat = aligned.reshape(len(aligned), -1)
        return cls(
            pose.astype(np.float32),
            (labels.blendshapes / BLEND_UNIT).astype(np.float32),
            flat.astype(np.float32),
        )


def rotate(points: Array, angles: Array) -> Array:
    """Rotate [N, P, 2] picture points by [N] radians, positive as MediaPipe's roll."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = points[..., 0], points[..., 1]
    # picture y points down, MediaPipe's y points up
    return np.stack([x * cos + y * sin, -x * sin + y * cos], -1)


def mirrored_blendshapes(scores: Array) -> Array:
    """Return [52] scores of the mirrored face."""
    out = scores.copy()
    for left, right in MIRROR_PAIRS:
        out[..., left], out[..., right] = scores[..., right], scores[..., left]
    return out


def mirrored_pose(pose: Array) -> Array:
    """Return the pose [..., 6] of the mirrored picture."""
    mirrored: Array = pose * np.array([-1, 1, -1, -1, 1, 1], pose.dtype)
    return mirrored


class LabelHead(nn.Module):
    """Linear maps from a code to blendshapes and face shape; thrown away after training."""

    def __init__(self, code: int, landmarks: int = 478, blendshapes: int = 52) -> None:
        """Make the layers."""
        super().__init__()
        self.blendshapes = nn.Linear(code, blendshapes)
        self.shape = nn.Linear(code, 2 * landmarks)

    def forward(self, code_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Return blendshapes [B, 52] and shape [B, 956]."""
        return self.blendshapes(code_BK), self.shape(code_BK)


# all are learnt equally
POSE_WEIGHT = tuple(1.4 / spread for spread in POSE_SPREAD)
POSE_BEND = (
    0.1  # of a spread: below it errors count squared; at 1 nothing asked for the last pixels
)


def pose_loss(code_BK: Tensor, pose_B6: Tensor) -> Tensor:
    """Return how far the pose slice is from its labels."""
    weight = torch.tensor(POSE_WEIGHT, device=code_BK.device)
    return F.smooth_l1_loss(code_BK[:, : len(POSE)] * weight, pose_B6 * weight, beta=POSE_BEND)


def pose_change_loss(code_BK: Tensor, pose_B6: Tensor) -> Tensor:
    """Return how far the change of pose from photo to target is from that of the labels.

    Args:
        code_BK: of the photos, then of the targets.
        pose_B6: their labels.

    """
    (photo, target), (was, becomes) = code_BK.chunk(2), pose_B6.chunk(2)
    return pose_loss(target - photo, becomes - was)


# what people look at counts more: eyelids, smile, jaw, and the shapes of lips (MediaPipe's order)
BLEND_WEIGHT = {9: 4.0, 10: 4.0, 25: 20.0, 27: 2.0, 32: 2.0, 38: 3.0, 44: 3.0, 45: 3.0}


def expression_loss(
    head: Callable[[Tensor], tuple[Tensor, Tensor]],
    code_BK: Tensor,
    blendshapes_BN: Tensor,
    shape_BM: Tensor,
    has_shape_B: Tensor,
) -> Tensor:
    """Return how far the head's answer is from the labels; `has_shape_B` is 0 for mirrored samples."""
    blend, shape = head(code_BK)
    blend_error = _blend_error(blend, blendshapes_BN)
    shape_error = F.smooth_l1_loss(shape, shape_BM, reduction="none").mean(1)
    return blend_error + (shape_error * has_shape_B).mean()


def change_loss(head: LabelHead, code_BK: Tensor, blendshapes_BN: Tensor) -> Tensor:
    """Return how far the head's change from photo to target is from that of the labels.

    What a face does over time is what is looked at; a constant that the encoder gets wrong for a
    person costs nothing here.

    Args:
        head: training-only.
        code_BK: of the photos, then of the targets.
        blendshapes_BN: their labels.

    """
    (photo, target), (was, becomes) = head.blendshapes(code_BK).chunk(2), blendshapes_BN.chunk(2)
    return _blend_error(target - photo, becomes - was)


def _blend_error(blend_BN: Tensor, wanted_BN: Tensor) -> Tensor:
    weight = torch.ones_like(blend_BN[0])
    for number, value in BLEND_WEIGHT.items():
        weight[number] = value
    return (F.mse_loss(blend_BN, wanted_BN, reduction="none") * weight).mean()


def independence_loss(expression_BE: Tensor, pose_B6: Tensor) -> Tensor:
    """Return the mean squared correlation, over the batch, of expression values with head pose.

    Its floor is 1 / B by chance. Without it the expression slice repeats yaw and pitch, which no
    change of the frame can hide, and the pose slice would not steer.
    """
    expression = expression_BE - expression_BE.mean(0)
    pose = pose_B6 - pose_B6.mean(0)
    # no floor worth shrinking for: with one of 1e-4 all expression values fell to a size of 0.01
    expression = expression / (expression.square().mean(0) + 1e-8).sqrt()
    pose = pose / (pose.square().mean(0) + 1e-8).sqrt()
    return (expression.T @ pose / len(pose)).square().mean()
