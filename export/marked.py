"""The render graph that marks what it draws: the same weights, and a few operations at its end.

The twin of `pocketportrait/mark/strength.py`. The activity of a picture is measured by pooling and
enlarging, and the pattern is a constant: no weights, nothing that a converter or a quantizer changes.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.mark import PUBLIC_KEY, field_of_side
from pocketportrait.mark.strength import (
    FLAT_LEVELS,
    GAIN,
    LEVELS,
    MOST_LEVELS,
    NEAR_PX,
    SMOOTH_PX,
)
from pocketportrait.models.student import GREY, Render, Student


@dataclass(frozen=True, slots=True)
class Mark:
    """What the exported render graph writes into its pictures."""

    key: bytes = PUBLIC_KEY  # who knows it can find the mark, and nobody else

    @property
    def key_name(self) -> str:
        """Return `public`, or a digest that tells private keys apart without giving them away."""
        if self.key == PUBLIC_KEY:
            return "public"
        return f"private {hashlib.sha256(b'name of ' + self.key).hexdigest()[:16]}"

    def facts(self, student: Student) -> dict[str, str]:
        """Return what the manifest says of the mark."""
        return {
            "bundle_id": f"{bundle_id_of(student):016x}",
            "mark": "pattern 1, in every picture of render",
            "mark_key": self.key_name,
        }


DEFAULT_MARK: Mark | None = Mark()  # of `export_weights` and the shipped bundle


class MarkedRender(Render):
    """A renderer with another one's weights under their old names, and the mark in its pictures."""

    field: Tensor

    def __init__(self, render: Render, field: Tensor) -> None:
        """Share the layers of `render`; `field` is [side, side], root mean square 1."""
        torch.nn.Module.__init__(self)
        self.__dict__.update(vars(render))
        # the field is ours alone; everything else is shared
        self._buffers = dict(render._buffers)
        self._non_persistent_buffers_set = set(render._non_persistent_buffers_set)
        self.register_buffer("field", field[None, None] / LEVELS, persistent=False)

    def forward(
        self,
        features: Tensor,
        features_flow: Tensor,
        features_skip: Tensor,
        source_code: Tensor,
        driving_code: Tensor,
    ) -> Tensor:
        """Render marked pictures, [B, 3, H, W], RGB 0..1. Arguments as in `Render.forward`."""
        drawn = self._paint(features, features_flow, features_skip, source_code, driving_code).image
        near = _enlarged(F.avg_pool2d(drawn, NEAR_PX), NEAR_PX)
        activity = _enlarged(F.avg_pool2d(torch.abs(drawn - near), SMOOTH_PX), SMOOTH_PX)
        # in levels, so that float16 has normal numbers all the way
        strength = torch.clamp(activity * (GAIN * LEVELS) + FLAT_LEVELS, max=MOST_LEVELS)
        return torch.clamp(drawn + strength * self.field, -GREY, GREY) + GREY


def marked_student(student: Student, mark: Mark) -> Student:
    """Return a student that shares all weights and whose renderer marks its pictures."""
    side = student.dims.side
    field = np.ascontiguousarray(field_of_side(bundle_id_of(student), side, mark.key))
    weight = student.render.paint.weight
    marked = copy.copy(student)
    marked._modules = dict(student._modules)
    marked.render = MarkedRender(student.render, torch.from_numpy(field).to(weight))
    return marked.train(student.training)


def bundle_id_of(student: Student) -> int:
    """Return 64 bits of the SHA-256 of a student's sizes and weights: equal weights, equal id."""
    digest = hashlib.sha256(student.dims.to_json().encode())
    for name, value in sorted(student.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def _enlarged(x_BCHW: Tensor, times: int) -> Tensor:
    return F.interpolate(x_BCHW, scale_factor=float(times), mode="bilinear", align_corners=False)
