"""LivePortrait's motion arithmetic: angles from bins, keypoints from motion, motion from a driver.

Shape suffixes: B batch, K keypoints. x runs right, y down, z into the picture; coordinates in -1..1.
Points are rows: they are rotated by multiplying with R from the right.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pocketportrait.models.teachers.liveportrait_motion import ANGLE_BINS, KEYPOINTS, Motion

_BIN_DEGREES = 3.0
_FIRST_BIN_DEGREES = -97.5

# What absolute motion takes from the driver: keypoints of eyes, brows and mouth whole, of a few others
# single axes; the rest of the face keeps the photo's shape.
_WHOLE = (1, 2, 6, *range(11, 21))
_AXES = {3: (1,), 4: (1,), 5: (2,), 8: (2,), 9: (1, 2)}


class Pose(NamedTuple):
    """A picture's motion in the units of the formulas."""

    angles_B3: Tensor  # pitch, yaw, roll in degrees
    rotation_B33: Tensor
    translation_B3: Tensor  # z is zero: the networks never use it
    expression_BK3: Tensor
    scale_B1: Tensor
    canonical_BK3: Tensor

    def keypoints(self) -> Tensor:
        """Return [B, K, 3]: scale (canonical R + expression) + translation."""
        turned = self.canonical_BK3 @ self.rotation_B33 + self.expression_BK3
        return self.scale_B1[:, None] * turned + self.translation_B3[:, None]


def degrees(logits_B66: Tensor) -> Tensor:
    """Return the angle [B] that a distribution over 66 bins expects."""
    bins = torch.arange(ANGLE_BINS, device=logits_B66.device, dtype=logits_B66.dtype)
    expected = (torch.softmax(logits_B66, 1) * bins).sum(1)
    return expected * _BIN_DEGREES + _FIRST_BIN_DEGREES


def rotation(angles_B3: Tensor) -> Tensor:
    """Return (Rz(roll) Ry(yaw) Rx(pitch)) transposed, [B, 3, 3], of angles in degrees."""
    pitch, yaw, roll = torch.deg2rad(angles_B3).unbind(1)
    return (_about(2, roll) @ _about(1, yaw) @ _about(0, pitch)).transpose(1, 2)


def pose(motion: Motion) -> Pose:
    """Return what the motion extractor said, in the units of the formulas."""
    angles = torch.stack([degrees(bins) for bins in (motion.pitch, motion.yaw, motion.roll)], 1)
    translation = motion.t.clone()
    translation[:, 2] = 0
    return Pose(
        angles_B3=angles,
        rotation_B33=rotation(angles),
        translation_B3=translation,
        expression_BK3=motion.exp.view(-1, KEYPOINTS, 3),
        scale_B1=motion.scale,
        canonical_BK3=motion.kp.view(-1, KEYPOINTS, 3),
    )


def relative(source: Pose, driving: Pose, neutral: Pose) -> Pose:
    """Return the photo's pose moved by how the driver differs from its neutral frame."""
    turned = driving.rotation_B33 @ neutral.rotation_B33.transpose(1, 2)
    return source._replace(
        rotation_B33=turned @ source.rotation_B33,
        expression_BK3=source.expression_BK3 + (driving.expression_BK3 - neutral.expression_BK3),
        scale_B1=source.scale_B1 * (driving.scale_B1 / neutral.scale_B1),
        translation_B3=source.translation_B3 + (driving.translation_B3 - neutral.translation_B3),
    )


def absolute(source: Pose, driving: Pose) -> Pose:
    """Return the driver's rotation, translation and expression on the photo's face and scale."""
    expression = source.expression_BK3.clone()
    expression[:, _WHOLE] = driving.expression_BK3[:, _WHOLE]
    for point, axes in _AXES.items():
        expression[:, point, axes] = driving.expression_BK3[:, point, axes]
    return source._replace(
        rotation_B33=driving.rotation_B33,
        expression_BK3=expression,
        translation_B3=driving.translation_B3,
    )


def _about(axis: int, radians_B: Tensor) -> Tensor:
    """Return rotations [B, 3, 3] about one axis, counter-clockwise for columns."""
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = torch.zeros(len(radians_B), 3, 3, device=radians_B.device, dtype=radians_B.dtype)
    cosine, sine = torch.cos(radians_B), torch.sin(radians_B)
    matrix[:, axis, axis] = 1
    matrix[:, first, first], matrix[:, first, second] = cosine, -sine
    matrix[:, second, first], matrix[:, second, second] = sine, cosine
    return matrix
