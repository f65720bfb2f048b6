"""One training step's loss: the motion encoder alone, all three graphs, or all but the encoder.

`joint` begins with an encoder that knows little; `tune` goes on with all three once it can read what
the renderer drew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pocketportrait.contract import POSE, Array
from pocketportrait.distill.augment import (
    degrade,
    draw_place,
    draw_zoom,
    jitter_colour,
    place,
    placed_points,
    placed_pose,
    soften,
)
from pocketportrait.distill.clips import Pairs
from pocketportrait.distill.losses import (
    grid_loss,
    mesh_flow_loss,
    mesh_weight,
    pyramid_loss,
    region_weight,
    smoothness_loss,
    ssim_loss,
)
from pocketportrait.distill.targets import (
    LabelHead,
    change_loss,
    expression_loss,
    independence_loss,
    pose_change_loss,
    pose_loss,
)
from pocketportrait.models.student import Rendered, Student
from pocketportrait.models.warp import warp_twin

Kind = Literal["motion", "joint", "render", "tune"]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each term counts.

    The label terms are weighted so that the motion encoder learns from them first and from the
    renderer second: at a tenth of this, poses were still 5 degrees off after 1,000 steps.
    `performed` has a steep gradient: at 1.5 it was 14 times that of the picture in the synthesis
    layers and 30 times in the flow net; blinks followed after 500 steps, but pictures got worse.
    """

    picture: float = 1.0
    ssim: float = 0.3
    warped: float = 0.5
    mesh: float = 1.0  # a pixel at 1/8 of the side
    pose: float = 2.0
    expression: float = 3.0
    independence: float = 0.3
    smooth: float = 0.05
    change: float = 3.0
    grid: float = 20.0
    performed: float = 0.25
    mixed: float = 0.25


class Objective(nn.Module):
    """A student, its training-only head, and the loss of a batch of pairs."""

    mesh_weight: Tensor

    def __init__(self, student: Student, kind: Kind, weights: LossWeights | None = None) -> None:
        """Wrap a student.

        Args:
            student: what learns.
            kind: what of it learns: `motion`, all (`joint`, `tune`), or the rest (`render`).
            weights: of the terms.

        """
        super().__init__()
        self.student, self.kind = student, kind
        self.head = LabelHead(student.dims.code)
        self.weights = weights or LossWeights()
        self.register_buffer("mesh_weight", mesh_weight(), persistent=False)
        if kind == "render":
            self.student.motion.requires_grad_(False)
            self.head.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a motion encoder that reads pictures keeps its batch statistics."""
        super().train(mode)
        if self.kind in ("render", "tune"):
            self.student.motion.eval()
        return self

    def forward(
        self, batch: dict[str, Tensor], side: int
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Return the loss, its parts (detached), and the picture where one was rendered.

        Args:
            batch: from `to_batch`.
            side: pixels at which the renderer is trained; the motion encoder always sees all.

        """
        image: Tensor | None = None
        if self.kind == "motion":
            parts = self._motion_parts(batch)
        else:
            parts, image = self._joint_parts(batch, side)
        terms = [getattr(self.weights, name) * value for name, value in parts.items()]
        total = torch.stack(terms).sum()
        return total, {name: value.detach() for name, value in parts.items()}, image

    def _motion_parts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        frames = torch.cat([batch["photo_jittered"], batch["target_moved"]])
        code = self.student.motion(frames).float()
        return {
            "pose": pose_loss(code, batch["pose"]) + pose_change_loss(code, batch["pose"]),
            "expression": self._expression(code, batch),
            "change": change_loss(self.head, code, batch["blendshapes"]),
            "independence": independence_loss(code[:, len(POSE) :], batch["pose"]),
        }

    def _expression(self, code: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Compare codes with the labels of photos and targets, or of targets alone."""
        labels = [batch[name][-len(code) :] for name in ("blendshapes", "shape", "has_shape")]
        return expression_loss(self.head, code, *labels)

    def codes(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return source and driving codes, and the label losses.

        The driving pose is read from the frame as it is, the driving expression from a copy whose
        size, shape, place and colour were changed: only what they share can reach the renderer.
        """
        frames = [batch["photo_jittered"], batch["target_jittered"], batch["target_moved"]]
        source, driving, moved = self.student.motion(torch.cat(frames)).float().chunk(3)
        pose, expression = slice(None, len(POSE)), slice(len(POSE), None)
        clean = torch.cat([source, driving])
        parts = {
            "pose": pose_loss(clean, batch["pose"]),
            "expression": (self._expression(clean, batch) + self._expression(moved, batch)) / 2,
            "independence": independence_loss(moved[:, expression], batch["pose"][len(source) :]),
        }
        # the pose slice learns from labels alone: a renderer that could bend it would
        performed = torch.cat([driving[:, pose].detach(), moved[:, expression]], 1)
        source = torch.cat([source[:, pose].detach(), source[:, expression]], 1)
        return source, performed, parts

    def _joint_parts(self, batch: dict[str, Tensor], side: int) -> tuple[dict[str, Tensor], Tensor]:
        parts: dict[str, Tensor] = {}
        if self.kind == "render":
            source, driving = self._given_codes(batch)
        else:
            source, driving, parts = self.codes(batch)
        photo, target = at_side(batch["photo"], side), at_side(batch["target"], side)
        features, aim, skip = self.student.appearance(photo)
        out = self.student.render.draw(features, aim, skip, source, driving)
        parts |= self._picture_parts(out, photo, target, batch)
        reads = self.kind in ("render", "tune")
        if reads and self.weights.performed:  # half of a step's time: not for nothing
            parts["performed"] = self._performed(out.image, batch)
        if reads and self.weights.mixed:
            parts["mixed"] = self._mixed((features, aim, skip), source.detach(), driving.detach())
        return parts, out.image.float()

    @torch.no_grad()
    def _given_codes(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return source and driving codes of an encoder that does not learn.

        Every other driving expression is read from the moved copy, as in `codes`; the others as
        they will be read in use.
        """
        count = len(batch["photo"])
        frames = [batch["photo"], batch["target"], batch["target_moved"][::2]]
        codes = self.student.motion(torch.cat(frames)).float()
        source, driving, moved = codes[:count], codes[count : 2 * count], codes[2 * count :]
        driving = driving.clone()
        driving[::2, len(POSE) :] = moved[:, len(POSE) :]
        return source, driving

    def _performed(self, image: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return how differently the encoder reads the rendered picture and the wanted frame.

        Both are seen softened and at the same changed place and size, so that only what shows in
        the face counts. Seen sharp, mouths that should open got a grid of dots instead, which the
        encoder takes for teeth; seen in their own colours, they turned teal. So what is read has
        the rendered brightness and the wanted frame's colours.
        """
        wanted, target = batch["target_moved"], batch["target"]
        if image.shape[-1] != wanted.shape[-1]:
            image = F.interpolate(image, size=wanted.shape[2:], mode="bilinear")
        image = target + (image.float() - target).mean(1, keepdim=True)
        moved = place(image.clamp(0, 1), batch["place"])
        seen = judged(self.student.motion, soften(moved)).float()
        with torch.no_grad():
            blend, shape = self.head(self.student.motion(soften(wanted)).float())
        return self._read_as(seen, blend, shape)

    def _read_as(self, seen_BK: Tensor, blend: Tensor, shape: Tensor) -> Tensor:
        """Return how far codes are from blendshapes and shapes; the head does not learn from it."""
        head = partial(judged, self.head)
        return expression_loss(head, seen_BK, blend, shape, torch.ones_like(seen_BK[:, 0]))

    def _mixed(
        self, maps: tuple[Tensor, Tensor, Tensor], source_BK: Tensor, driving_BK: Tensor
    ) -> Tensor:
        """Return how far photos are from performing one stranger's pose, another's expression.

        Nobody knows how that looks, so only the encoder's reading is compared, softened as in
        `_performed`; brightness alone can answer. Every other photo of the batch does it.
        """
        mixed = torch.cat(
            [driving_BK.roll(1, 0)[::2, : len(POSE)], driving_BK.roll(2, 0)[::2, len(POSE) :]], 1
        )
        features, aim, skip = (half[::2] for half in maps)
        out = self.student.render.draw(features, aim, skip, source_BK[::2], mixed)
        image = out.image.float()
        grey = image.mean(1, keepdim=True)
        image = image.detach() + grey - grey.detach()
        side = self.student.dims.side
        if image.shape[-1] != side:
            image = F.interpolate(image, size=(side, side), mode="bilinear")
        seen = judged(self.student.motion, soften(image.clamp(0, 1))).float()
        with torch.no_grad():
            blend, shape = self.head(mixed)
        return self._read_as(seen, blend, shape) + 0.3 * pose_loss(seen, mixed[:, : len(POSE)])

    def _picture_parts(
        self, out: Rendered, photo: Tensor, target: Tensor, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        side = target.shape[-1]
        weight = region_weight(batch["target_points"], side)
        half_weight = F.avg_pool2d(weight, 2)
        half_photo, half_target = F.avg_pool2d(photo, 2), F.avg_pool2d(target, 2)
        fields = F.interpolate(out.fine_fields, scale_factor=2.0, mode="bilinear") * 2
        image = out.image.float()
        points = batch["photo_points"], batch["target_points"], self.mesh_weight
        mesh = mesh_flow_loss(out.fields, *points) + mesh_flow_loss(out.fine_fields, *points)
        return {
            "picture": pyramid_loss(image, target, weight),
            "ssim": ssim_loss(image, target, weight),
            "grid": grid_loss(image, target),
            "warped": pyramid_loss(warp_twin(half_photo, fields), half_target, half_weight),
            "mesh": mesh * (16 / out.fields.shape[-1]),
            "smooth": (smoothness_loss(out.fields) + smoothness_loss(out.fine_fields)) / 2,
        }


def to_batch(
    pairs: Pairs,
    rng: torch.Generator,
    kind: Kind = "joint",
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Turn drawn pairs into tensors, RGB 0..1, with the augmented copies of `kind`.

    Pictures travel to `device` as bytes and are augmented there; `rng` is the CPU's, so that every
    device draws the same.
    """
    names = ("photo_points", "target_points", "pose", "blendshapes", "shape", "has_shape")
    batch = {name: torch.from_numpy(getattr(pairs, name)).to(device) for name in names}
    photo, target = (to_pictures(frames, device) for frames in (pairs.photo, pairs.target))
    if kind != "motion":
        zoom = draw_zoom(len(photo), rng).to(device)
        points = torch.cat([batch["photo_points"], batch["target_points"]])
        twice = torch.cat([zoom, zoom])
        batch["pose"] = placed_pose(twice, points, batch["pose"])
        batch["photo_points"], batch["target_points"] = placed_points(twice, points).chunk(2)
        photo, target = (
            place(x, zoom, "reflection").contiguous(memory_format=torch.channels_last)
            for x in (photo, target)
        )
        batch |= {"photo": photo, "target": target}
    batch["place"] = draw_place(len(photo), rng).to(device)
    batch["target_moved"] = place(jitter_colour(target, rng), batch["place"])
    if kind == "motion":
        batch |= _moved_apart(batch, photo, rng)
    if kind in ("joint", "tune"):
        batch["photo_jittered"] = jitter_colour(photo, rng)
        batch["target_jittered"] = jitter_colour(target, rng)
    return batch


def judged(network: nn.Module, *inputs: Tensor) -> Any:
    """Return what a network says that does not learn from saying it: gradients reach its inputs alone.

    A network that judges what it taught could please itself with one answer for all.
    """
    fixed = {n: v.detach() for n, v in network.state_dict(keep_vars=True).items()}
    return functional_call(network, fixed, inputs)


def _moved_apart(
    batch: dict[str, Tensor], photo: Tensor, rng: torch.Generator
) -> dict[str, Tensor]:
    """Return frames for the motion encoder alone, each at a place and size of its own, and their poses.

    The clips' framing puts every face in the middle: without other places the encoder told them
    by 2 pixels.
    """
    photo_place = draw_place(len(photo), rng).to(photo.device)
    photo_moved = place(jitter_colour(photo, rng), photo_place)
    places = torch.cat([photo_place, batch["place"]])
    points = torch.cat([batch["photo_points"], batch["target_points"]])
    return {
        "photo_jittered": degrade(photo_moved, rng),
        "target_moved": degrade(batch["target_moved"], rng),
        "pose": placed_pose(places, points, batch["pose"]),
    }


def at_side(x_BCHW: Tensor, side: int) -> Tensor:
    """Reduce square pictures to `side` pixels by area averaging."""
    factor = x_BCHW.shape[-1] // side
    return F.avg_pool2d(x_BCHW, factor) if factor > 1 else x_BCHW


def to_pictures(frames: Array, device: torch.device | str = "cpu") -> Tensor:
    """Turn uint8 [N, H, W, 3] into [N, 3, H, W], 0..1, on `device`."""
    x = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 255
    return x.contiguous(memory_format=torch.channels_last)
