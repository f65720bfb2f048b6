"""LivePortrait as a teacher: five published checkpoints, photo and frames in, pictures out.

Guo et al., "LivePortrait", 2024. The networks are written anew from the names and shapes in the
checkpoints; golden outputs prove that they compute the same (`liveportrait_golden`).

Shape suffixes: B batch, K keypoints, C channels, D depth, H and W pixels.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers.checkpoint import (
    find_checkpoint,
    find_device,
    load_strictly,
    read_checkpoint,
)
from pocketportrait.models.teachers.liveportrait_appearance import AppearanceExtractor
from pocketportrait.models.teachers.liveportrait_generator import SpadeGenerator
from pocketportrait.models.teachers.liveportrait_keypoints import Pose, absolute, pose, relative
from pocketportrait.models.teachers.liveportrait_motion import MotionExtractor
from pocketportrait.models.teachers.liveportrait_stitching import (
    eye_network,
    lip_network,
    retarget,
    stitch,
    stitching_network,
)
from pocketportrait.models.teachers.liveportrait_warp import WarpingModule
from pocketportrait.models.teachers.protocol import SIDE_PX, check_picture

STITCHING_FILE = "stitching_retargeting_module"
STITCHING_PARTS = {
    "retarget_shoulder": stitching_network,
    "retarget_eye": eye_network,
    "retarget_mouth": lip_network,
}
OPEN_LIPS = 0.03  # lip ratio from which a photo's mouth counts as open
CODE = 6 + 63  # numbers of a frame's code: pose, then expression


class Networks(NamedTuple):
    """What five checkpoints hold."""

    appearance: nn.Module
    motion: nn.Module
    warping: nn.Module
    generator: nn.Module
    stitching: nn.Module
    eye: nn.Module
    lip: nn.Module

    def num_parameters(self) -> int:
        """Return how many weights there are."""
        return sum(weight.numel() for network in self for weight in network.parameters())


@dataclass(frozen=True, slots=True)
class LivePortraitOptions:
    """How motion is transferred."""

    motion: Literal["relative", "absolute"] = "relative"
    stitching: bool = True
    multiplier: float = 1.0  # of the keypoints' way from the photo's to the driven ones


class Prepared(NamedTuple):
    """A photo, encoded once."""

    volume_BCDHW: Tensor
    pose: Pose
    keypoints_BK3: Tensor
    lips_BK3: Tensor | None  # offsets that close the photo's mouth first


class LivePortrait:
    """A `Teacher` with codes."""

    def __init__(
        self,
        networks: Networks,
        files: tuple[Path, ...] = (),
        options: LivePortraitOptions | None = None,
        device: str = "cpu",
    ) -> None:
        """Take loaded networks; `open` is the way from files."""
        self._networks = Networks(*(network.to(device) for network in networks))
        self._files = files
        self._options = options or LivePortraitOptions()
        self._device = torch.device(device)

    @classmethod
    def open(
        cls, folder: Path, *, options: LivePortraitOptions | None = None, device: str = "cpu"
    ) -> LivePortrait:
        """Load the published checkpoints from `folder` or its subfolders.

        Raises:
            InputError: a file is missing, broken, or holds other keys or shapes.

        """
        find_device(device)  # before half a gigabyte is read
        networks, files = read_networks(folder)
        return cls(networks, files, options, device)

    @property
    def summary(self) -> str:
        """One line: what was loaded."""
        millions = self._networks.num_parameters() / 1e6
        return (
            f"{len(self._files)} checkpoints, {millions:.1f} M parameters, every key in its place"
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoints and the options."""
        digest = hashlib.sha256(repr(("liveportrait", astuple(self._options))).encode())
        for path in self._files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def animate(
        self, photo: Array, frames: Iterable[Array], *, lip_ratio: float = 0.0
    ) -> Iterator[Array]:
        """Yield one picture a frame, uint8 [256, 256, 3]. Arguments as in the protocol.

        Args:
            photo: uint8 [256, 256, 3].
            frames: uint8 [256, 256, 3]; the first is the neutral one of relative motion.
            lip_ratio: how open the photo's mouth is (`liveportrait_crop.lip_ratio`); an open one is
                closed first.

        """
        for picture in self.pictures(photo, frames, lip_ratio=lip_ratio):
            small = F.avg_pool2d(picture, picture.shape[-1] // SIDE_PX)
            yield _to_uint8(small)

    def pictures(
        self, photo: Array, frames: Iterable[Array], *, lip_ratio: float = 0.0
    ) -> Iterator[Tensor]:
        """Yield the generator's own pictures, float [1, 3, 512, 512] in 0..1. Arguments as in `animate`."""
        prepared = self._prepare(check_picture(photo, "photo"), lip_ratio)
        neutral = None
        for index, frame in enumerate(frames):
            driving = self._pose(check_picture(frame, f"frame {index}"))
            neutral = driving if neutral is None else neutral
            yield self._render(prepared, self._driven(prepared, driving, neutral))

    def encode(self, frames: Iterable[Array]) -> Array:
        """Return codes [number of frames, 69]: yaw, pitch, roll in radians, tx, ty, log scale; expression."""
        codes = [
            _code(self._pose(check_picture(frame, f"frame {index}")))
            for index, frame in enumerate(frames)
        ]
        return np.stack(codes) if codes else np.zeros((0, CODE), np.float32)

    @torch.inference_mode()
    def _prepare(self, photo: Array, lip_ratio: float) -> Prepared:
        source = self._pose(photo)
        keypoints = source.keypoints()
        lips = None
        if lip_ratio >= OPEN_LIPS:
            ratios = (keypoints.new_full((1, 1), lip_ratio), keypoints.new_zeros(1, 1))
            lips = retarget(self._networks.lip, keypoints, *ratios)
        volume = self._networks.appearance(_to_tensor(photo, self._device))
        return Prepared(volume, source, keypoints, lips)

    @torch.inference_mode()
    def _pose(self, picture: Array) -> Pose:
        return pose(self._networks.motion(_to_tensor(picture, self._device)))

    @torch.inference_mode()
    def _driven(self, prepared: Prepared, driving: Pose, neutral: Pose) -> Tensor:
        """Return the keypoints [1, K, 3] that the photo shall take."""
        if self._options.motion == "relative":
            driven = relative(prepared.pose, driving, neutral).keypoints()
        else:
            driven = absolute(prepared.pose, driving).keypoints()
        if self._options.stitching:
            driven = stitch(self._networks.stitching, prepared.keypoints_BK3, driven)
        if prepared.lips_BK3 is not None:
            driven = driven + prepared.lips_BK3
        return prepared.keypoints_BK3 + (driven - prepared.keypoints_BK3) * self._options.multiplier

    @torch.inference_mode()
    def _render(self, prepared: Prepared, driven_BK3: Tensor) -> Tensor:
        warped = self._networks.warping(prepared.volume_BCDHW, driven_BK3, prepared.keypoints_BK3)
        picture: Tensor = self._networks.generator(warped.features)
        return picture


def read_networks(folder: Path) -> tuple[Networks, tuple[Path, ...]]:
    """Load all networks, and return them with their files.

    Raises:
        InputError: as `LivePortrait.open`.

    """
    builders = {
        "appearance_feature_extractor": AppearanceExtractor,
        "motion_extractor": MotionExtractor,
        "warping_module": WarpingModule,
        "spade_generator": SpadeGenerator,
    }
    files = [find_checkpoint(folder, stem) for stem in (*builders, STITCHING_FILE)]
    large = [
        load_strictly(build, read_checkpoint(path), path.name)
        for build, path in zip(builders.values(), files, strict=False)
    ]
    return Networks(*large, *_read_keypoint_networks(files[-1])), tuple(files)


def _read_keypoint_networks(path: Path) -> list[nn.Module]:
    """Split the one file of the three small networks; its keys carry `PART.module.` in front."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in STITCHING_PARTS}
    for key, value in read_checkpoint(path).items():
        part, _, rest = key.partition(".")
        if part not in parts:
            raise InputError(
                f"{path.name}: want the parts {', '.join(parts)}, got {key!r};"
                " want the published checkpoint of exactly these networks"
            )
        parts[part][rest.removeprefix("module.")] = value
    return [
        load_strictly(build, parts[part], f"{path.name}: {part}")
        for part, build in STITCHING_PARTS.items()
    ]


def _code(pose: Pose) -> Array:
    pitch, yaw, roll = torch.deg2rad(pose.angles_B3).unbind(1)
    head = torch.stack([yaw, pitch, roll, *pose.translation_B3[:, :2].unbind(1)], 1)
    code = torch.cat([head, pose.scale_B1.log(), pose.expression_BK3.flatten(1)], 1)
    return code[0].cpu().numpy().astype(np.float32)


def _to_tensor(picture: Array, device: torch.device) -> Tensor:
    """Return [1, 3, H, W] in 0..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    return tensor[None].to(device).float() / 255


def _to_uint8(picture_13HW: Tensor) -> Array:
    """Return [H, W, 3]; fractions are dropped, as the published code does."""
    if not torch.isfinite(picture_13HW).all():
        raise InputError("want pictures in 0..1, got NaN; the checkpoints do not fit each other")
    array = (picture_13HW[0] * 255).clamp(0, 255).to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(array.transpose(1, 2, 0))
