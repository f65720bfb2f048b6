"""What a student learns from a teacher's pictures: where things move, how they look, what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Self, cast, get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.contract import POSE
from pocketportrait.distill.losses import (
    mesh_flow_loss,
    pyramid_loss,
    region_weight,
    smoothness_loss,
)
from pocketportrait.distill.objective import LossWeights, Objective, at_side, judged
from pocketportrait.distill.plan import Phase, TeacherKind
from pocketportrait.distill.targets import independence_loss, pose_loss
from pocketportrait.distill.teacher_judges import Judges, identity_loss, perceptual_loss
from pocketportrait.distill.teacher_plan import Transfer
from pocketportrait.models.student import Rendered, Student
from pocketportrait.models.warp import warp_twin

# what paints; all else decides where things move. `synthesis` teaches these, `warp` all others
PAINTING = (
    "student.appearance.detail.",
    "student.appearance.detail_stem.",
    *(
        f"student.render.{part}."
        for part in ("guide", "refine", "blocks", "up_half", "mix", "up_full", "paint", "copy")
    ),
)


@dataclass(frozen=True, slots=True)
class TeacherLossWeights(LossWeights):
    """How much each term counts; `code` and `perceptual` are untuned."""

    code: float = 1.0
    cycle: float = 1.0
    identity: float = 0.15  # at 0.5 faces kept to the photo and moved less
    performed: float = 0.0  # brought nothing beside `cycle`
    perceptual: float = 0.5


# what may be weighed: the others are of trainings without a teacher
TERMS = tuple(f.name for f in fields(TeacherLossWeights) if f.name not in ("change", "mixed"))


class TeacherObjective(Objective):
    """A student, its training-only heads, and the loss of a batch of a teacher's pictures."""

    def __init__(
        self,
        student: Student,
        phase: Phase,
        *,
        transfer: Transfer,
        code_size: int = 0,
        judges: Judges | None = None,
        frozen_norm: bool = False,
        pose_gradient: float = 0.0,
        weights: TeacherLossWeights | None = None,
    ) -> None:
        """Wrap a student.

        Args:
            student: what learns.
            phase: its kind says which part.
            transfer: whether the photo performs the driver's change since the neutral frame, or
                the driver as it is.
            code_size: length of the teacher's code; 0 where it has none.
            judges: networks that look at pictures.
            frozen_norm: batch norms keep the statistics that they have.
            pose_gradient: share of the gradients of pictures that reaches the pose slice, 0..1.
            weights: of the terms.

        """
        super().__init__(student, "joint", weights or TeacherLossWeights())
        assert phase.kind in get_args(TeacherKind), phase.kind  # the plan was checked
        self.learns = cast(TeacherKind, phase.kind)
        self.transfer, self.frozen_norm = transfer, frozen_norm
        self.pose_gradient = pose_gradient
        self.judges = judges or Judges()
        self.code_head = nn.Linear(student.dims.code, code_size) if code_size else None
        for name, parameter in self.named_parameters():
            paints = name.startswith(PAINTING)
            parameter.requires_grad_(
                self.learns == "joint" or paints == (self.learns == "synthesis")
            )

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what does not learn keeps its batch statistics."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d) and (
                self.frozen_norm or not part.weight.requires_grad
            ):
                part.eval()
        return self

    def _joint_parts(self, batch: dict[str, Tensor], side: int) -> tuple[dict[str, Tensor], Tensor]:
        parts: dict[str, Tensor] = {}
        if self.learns == "synthesis":
            with torch.no_grad():
                source, driving, _ = self._read(batch)
        else:
            source, driving, parts = self._read(batch)
        photo, target = at_side(batch["photo"], side), at_side(batch["target"], side)
        features, aim, skip = self.student.appearance(photo)
        out = self.student.render.draw(features, aim, skip, source, driving)
        image = out.image.float()
        if self.learns == "warp":
            return parts | self._warp_parts(out, photo, target, batch), image
        parts |= self._picture_parts(out, photo, target, batch)
        with self._reading():
            parts["cycle"] = self._cycle(image, driving, batch)
            if self.weights.performed:
                parts["performed"] = self._performed(image, batch)
        return parts | self._judged(image, photo, target, batch), image

    def _read(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return the photo's code, the code that it shall perform, and the losses of codes.

        Labels are those of photos and of the teacher's pictures. The pose slice learns from them
        and, by `pose_gradient`, from pictures: a renderer that could bend it freely would. A
        teacher's code never bends it.
        """
        frames = [batch[name] for name in ("photo", "driver", "neutral", "target")]
        codes = self.student.motion(torch.cat(frames)).float().chunk(4)
        source, driver, neutral, made = codes
        labelled, pose = torch.cat([source, made]), batch["pose"][len(made) :]
        parts = {
            "pose": pose_loss(labelled, batch["pose"]),
            "expression": self._expression(labelled, batch),
            "independence": independence_loss(_of_all(made[:, len(POSE) :]), _of_all(pose)),
        }
        if self.code_head is not None:
            told = self.code_head(_with_pose_gradient(driver, 0.0))
            parts["code"] = code_loss(told, batch["code"], batch["has_code"])
        source, driver, neutral = (
            _with_pose_gradient(code, self.pose_gradient) for code in (source, driver, neutral)
        )
        driving = source + driver - neutral if self.transfer == "relative" else driver
        return source, driving, parts

    def _warp_parts(
        self, out: Rendered, photo: Tensor, target: Tensor, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compare the photo, moved by the first fields, with the teacher's picture."""
        weight = region_weight(batch["target_points"], target.shape[-1])
        half = [F.avg_pool2d(x, 2) for x in (photo, target, weight)]
        fields = F.interpolate(out.fields, scale_factor=2.0, mode="bilinear") * 2
        points = batch["photo_points"], batch["target_points"], self.mesh_weight
        return {
            "warped": pyramid_loss(warp_twin(half[0], fields), half[1], half[2]),
            "mesh": mesh_flow_loss(out.fields, *points) * (32 / out.fields.shape[-1]),
            "smooth": smoothness_loss(out.fields),
        }

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Have the encoder read pictures with the batch statistics that it has, and keep them."""
        learning = self.student.motion.training
        self.student.motion.eval()
        try:
            yield
        finally:
            if learning:
                self.train()  # frozen batch norms stay frozen

    def _cycle(self, image: Tensor, driving: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return how far the picture's code is from the one that was to be performed.

        The encoder judges and does not learn here: it could please itself with one code for all.
        """
        motion, side = self.student.motion, batch["target"].shape[-1]
        if image.shape[-1] != side:
            image = F.interpolate(image, size=(side, side), mode="bilinear")
        seen = judged(motion, image.clamp(0, 1)).float()
        scale = self.student.render.code_scale
        return F.smooth_l1_loss(seen * scale, driving.detach() * scale)

    def _judged(
        self, image: Tensor, photo: Tensor, target: Tensor, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = {}
        with torch.autocast(image.device.type, enabled=False):
            if self.judges.identity is not None:
                points = batch["target_points"], batch["photo_points"]
                parts["identity"] = identity_loss(self.judges.identity, image, photo, points)
            if self.judges.perceptual is not None:
                parts["perceptual"] = perceptual_loss(self.judges.perceptual, image, target)
        return parts


def code_loss(told_BK: Tensor, code_BK: Tensor, has_code_B: Tensor) -> Tensor:
    """Return the cosine distance plus the smooth L1 distance to the teacher's code."""
    angle = 1 - F.cosine_similarity(told_BK, code_BK)
    distance = F.smooth_l1_loss(told_BK, code_BK, reduction="none").mean(1)
    return ((angle + distance) * has_code_B).mean()


def _with_pose_gradient(code_BK: Tensor, share: float) -> Tensor:
    """Return the codes as they are; their pose slices get a share of the gradient."""
    pose, expression = code_BK[:, : len(POSE)], code_BK[:, len(POSE) :]
    return torch.cat([pose.detach() + share * (pose - pose.detach()), expression], 1)


def _of_all(own: Tensor) -> Tensor:
    """Return the rows of all processes, for a figure of the whole batch.

    Every process computes the same figure, and gradients are averaged over processes: the own rows
    carry theirs that many times.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return own
    everybody, value = dist.get_world_size(), own.detach()
    parts = [torch.empty_like(value) for _ in range(everybody)]
    dist.all_gather(parts, value.contiguous())
    parts[dist.get_rank()] = value + (own - value) * everybody
    return torch.cat(parts)
