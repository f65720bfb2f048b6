"""PersonaLive as a teacher: X-NeMo's UNets in four steps, with the head's pose from keypoints.

Li et al., "PersonaLive! Expressive Portrait Image Animation for Live Streaming", 2025. Written anew, as
X-NeMo's networks.

Shape suffixes: B batch, C channels, F frames, T tokens, H and W pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers.checkpoint import find_checkpoint, find_device
from pocketportrait.models.teachers.liveportrait_keypoints import Pose, pose
from pocketportrait.models.teachers.liveportrait_motion import ANGLE_BINS
from pocketportrait.models.teachers.personalive_pose import (
    PoseExtractor,
    PoseGuider,
    approach,
    cut_faces,
    drawn,
    driven,
    face_boxes,
    rigid,
)
from pocketportrait.models.teachers.personalive_stream import (
    LEAD,
    TIMESTEPS,
    WINDOW,
    Keyframes,
    Told,
    stream,
)
from pocketportrait.models.teachers.protocol import check_picture, check_pictures
from pocketportrait.models.teachers.xnemo import enlarged, to_pictures, to_tensor
from pocketportrait.models.teachers.xnemo_layers import Bank
from pocketportrait.models.teachers.xnemo_motion import MotionDims, MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import (
    LATENT_SCALE,
    Part,
    Shelf,
    Sizes,
    clip_part,
    picture_embedding,
    picture_latent,
    picture_vae_part,
)
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet

_AT_ONCE = 8  # frames that a network takes together
_BINS_KEY = "idx_tensor"
CODE = 6 + 512  # numbers of a frame's code: pose, then motion tokens


@dataclass(frozen=True, slots=True)
class PersonaLiveOptions:
    """How it samples."""

    side_px: int = 512  # of the pictures that it paints
    seed: int = 0


class Driving(NamedTuple):
    """Photo and driver, as the denoising network is told of them."""

    photo_motion_1TC: Tensor
    motion_1FTC: Tensor  # with the frames that lead to the first
    points_FK3: Tensor  # keypoints that the photo shall take, likewise


class PersonaLive:
    """A `Teacher` with codes."""

    def __init__(self, shelf: Shelf, options: PersonaLiveOptions, device: torch.device) -> None:
        """Take networks; `open` is the way from files."""
        self._shelf = shelf
        self._options, self._device = options, device

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        options: PersonaLiveOptions | None = None,
        device: str = "cpu",
        sizes: Sizes | None = None,
    ) -> PersonaLive:
        """Check the published checkpoints in `folder`, one network at a time.

        On a CPU networks are in memory when they are wanted, on other devices all stay.

        Raises:
            InputError: a file is missing, broken, or holds other keys or shapes.

        """
        options = options or PersonaLiveOptions()
        if options.side_px < 64 or options.side_px % 64:
            raise InputError(f"side: want a multiple of 64 px, got {options.side_px}; 512 is usual")
        place = find_device(device)
        sizes = sizes or Sizes(motion=MotionDims(box=0))
        shelf = Shelf(personalive_parts(folder, sizes), place, keep=place.type != "cpu")
        shelf.check()
        return cls(shelf, options, place)

    @property
    def summary(self) -> str:
        """One line: what was loaded."""
        return f"{self._shelf.summary}; {len(TIMESTEPS)} steps at {self._options.side_px} px"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoints and the options."""
        return self._shelf.fingerprint("personalive", astuple(self._options))

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield one picture a frame, uint8 [256, 256, 3]; all frames are read before the first.

        Raises:
            InputError: a picture of another size or type, or one without a face.

        """
        check_picture(photo, "photo")
        driving = check_pictures(frames)
        if not driving:
            return
        # whole windows, and three more that push the last one out
        idle = -len(driving) % WINDOW + WINDOW * (len(TIMESTEPS) - 1)
        told = self._driving(photo, [*driving, *[driving[-1]] * idle])
        yield from self._decode(self._sample(photo, told)[:, :, : len(driving)])

    def encode(self, frames: Iterable[Array]) -> Array:
        """Return codes [number of frames, 518]: yaw, pitch, roll in radians, tx, ty, log scale; tokens."""
        driving = check_pictures(frames)
        if not driving:
            return np.zeros((0, CODE), np.float32)
        poses = self._poses(driving)
        pitch, yaw, roll = torch.deg2rad(poses.angles_B3).unbind(1)
        head = torch.stack([yaw, pitch, roll, *poses.translation_B3[:, :2].unbind(1)], 1)
        tokens = self._motion(driving, rigid(poses)).flatten(1)
        code: Array = torch.cat([head, poses.scale_B1.log(), tokens], 1).cpu().numpy()
        return code

    def _driving(self, photo: Array, frames: Sequence[Array]) -> Driving:
        own, driver = self._poses([photo]), self._poses(frames)
        first = Pose(*(value[:1] for value in driver))
        points = [rigid(approach(own, first, LEAD)), rigid(driven(own, driver, first))]
        photo_motion = self._motion([photo], rigid(own))
        motion = self._motion(frames, rigid(driver))
        share = torch.arange(LEAD, device=self._device)[:, None, None] / LEAD
        lead = (1 - share) * photo_motion + share * motion[:1]
        return Driving(photo_motion, torch.cat([lead, motion])[None], torch.cat(points))

    @torch.inference_mode()
    def _poses(self, pictures: Sequence[Array]) -> Pose:
        with self._shelf.take("pose") as network:
            found = [pose(network(to_tensor(few, self._device))) for few in _in_parts(pictures)]
        return Pose(*(torch.cat(values) for values in zip(*found, strict=True)))

    @torch.inference_mode()
    def _motion(self, pictures: Sequence[Array], points_FK3: Tensor) -> Tensor:
        """Return motion tokens [F, T, C]."""
        side, at = self._options.side_px, 0
        tokens: list[Tensor] = []
        boxes = face_boxes(points_FK3, side)
        with self._shelf.take("motion") as network:
            assert isinstance(network, MotionEncoder)
            for few in _in_parts(pictures):
                large = enlarged(to_tensor(few, self._device), side) * 2 - 1
                faces = cut_faces(large, boxes[at : at + len(few)], network.dims.side)
                tokens.append(network(faces.transpose(0, 1)[None])[0])
                at += len(few)
        return torch.cat(tokens)

    @torch.inference_mode()
    def _sample(self, photo: Array, told: Driving) -> Tensor:
        """Return clean latents [1, C, F, H, W]."""
        picture = enlarged(to_tensor([photo], self._device), self._options.side_px)
        with self._shelf.take("vae") as network:
            latent = picture_latent(network, picture * 2 - 1)
        del network  # before the next one comes
        with self._shelf.take("clip") as network:
            context = picture_embedding(network, picture)
        del network

        def reference(clean_14HW: Tensor) -> Bank:
            with self._shelf.take("reference") as looked:
                bank: Bank = looked(clean_14HW, context)[1]
            return bank

        keyframes = Keyframes(told.photo_motion_1TC, reference(latent))
        random = torch.Generator().manual_seed(self._options.seed)
        with self._shelf.take("denoising") as network:

            def denoise(noisy: Tensor, times: Tensor, of: Told, bank: Bank) -> Tensor:
                noise: Tensor = network(
                    noisy, times.to(noisy.device), context, of.motion_1FTC, bank, of.pose_1CFHW
                )
                return noise

            parts = self._windows(told)
            return torch.cat([*stream(latent, parts, keyframes, denoise, reference, random)], 2)

    def _windows(self, told: Driving) -> Iterator[Told]:
        side = self._options.side_px
        with self._shelf.take("guider") as network:
            for start in range(0, len(told.points_FK3), WINDOW):
                inside = slice(start, start + WINDOW)
                discs = drawn(told.points_FK3[inside], side).transpose(0, 1)[None]
                yield Told(told.motion_1FTC[:, inside], network(discs))

    @torch.inference_mode()
    def _decode(self, latent_1CFHW: Tensor) -> Iterator[Array]:
        latents = latent_1CFHW[0].transpose(0, 1) / LATENT_SCALE
        with self._shelf.take("vae") as network:
            for few in torch.split(latents, _AT_ONCE):
                yield from to_pictures(network.decode(few).sample / 2 + 0.5)  # type: ignore[operator]


def personalive_parts(folder: Path, sizes: Sizes) -> dict[str, Part]:
    """Return the networks that the published files make up.

    Raises:
        InputError: a file is missing.

    """
    denoising = (
        find_checkpoint(folder, "denoising_unet"),
        find_checkpoint(folder, "temporal_module"),
    )
    first = sizes.unet.channels[0]
    return {
        "pose": Part((find_checkpoint(folder, "motion_extractor"),), PoseExtractor, _with_bins),
        "motion": Part(
            (find_checkpoint(folder, "motion_encoder"),), lambda: MotionEncoder(sizes.motion)
        ),
        "guider": Part((find_checkpoint(folder, "pose_guider"),), lambda: PoseGuider(first)),
        "reference": Part(
            (find_checkpoint(folder, "reference_unet"),), lambda: ReferenceUNet(sizes.unet)
        ),
        "denoising": Part(denoising, lambda: DenoisingUNet(sizes.unet)),
        "vae": picture_vae_part(folder, sizes),
        "clip": clip_part(folder, sizes),
    }


def _with_bins(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the table 0, 1, 2, ... where the file is LivePortrait's own, which has none."""
    return {_BINS_KEY: torch.arange(ANGLE_BINS, dtype=torch.float32), **tensors}


def _in_parts(pictures: Sequence[Array]) -> Iterator[Sequence[Array]]:
    for start in range(0, len(pictures), _AT_ONCE):
        yield pictures[start : start + _AT_ONCE]
