"""X-NeMo, the released code base of X-Portrait 2, as a teacher.

Zhao et al., "X-NeMo: Expressive Neural Motion Reenactment via Disentangled Latent Attention", ICLR 2025.
A motion encoder turns every driving frame into 32 tokens; a UNet removes noise from latent frames, looking
at those tokens and at the photo's tokens. The networks are written anew from the names and shapes in the
checkpoints; golden outputs prove that they compute the same (`xnemo_golden`).

Shape suffixes: B batch, C channels, F frames, T tokens, H and W pixels, E the code's length.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.detector import CenterFaceDetector, FaceDetector
from pocketportrait.models.teachers.checkpoint import find_checkpoint, find_device
from pocketportrait.models.teachers.protocol import SIDE_PX, check_picture, check_pictures
from pocketportrait.models.teachers.xnemo_faces import face_crops
from pocketportrait.models.teachers.xnemo_layers import Bank
from pocketportrait.models.teachers.xnemo_motion import MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import (
    LATENT_SCALE,
    Part,
    Shelf,
    Sizes,
    clip_part,
    picture_embedding,
    picture_latent,
    video_vae_part,
)
from pocketportrait.models.teachers.xnemo_sampling import (
    TRAINED_STEPS,
    Schedule,
    blend,
    blurred,
    descent,
    windows,
)
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet

_AT_ONCE = 8  # frames that the motion encoder and the decoder take together
_BOX = (0.0, 0.0, 1.0)  # the face box's place and scale: as in the photo


@dataclass(frozen=True, slots=True)
class XNemoOptions:
    """How it samples; the published settings unless said otherwise."""

    steps: int = 35
    guidance: float = 2.5
    window: int = 24  # frames that are denoised together
    overlap: int = 4
    side_px: int = 512  # of the pictures that it paints
    seed: int = 0


class Conditions(NamedTuple):
    """What the denoising network is told."""

    latent_14HW: Tensor  # the photo
    context_1TC: Tensor  # the photo's embedding
    bank: Bank  # the photo's tokens
    photo_motion_1FTC: Tensor  # one frame
    motion_1FTC: Tensor  # all frames


class XNemo:
    """A `Teacher` with codes."""

    def __init__(
        self,
        shelf: Shelf,
        detector: FaceDetector,
        options: XNemoOptions,
        device: torch.device,
    ) -> None:
        """Take networks; `open` is the way from files."""
        self._shelf = shelf
        self._detector, self._options, self._device = detector, options, device
        self._schedule = Schedule()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        options: XNemoOptions | None = None,
        device: str = "cpu",
        sizes: Sizes | None = None,
        detector: FaceDetector | None = None,
    ) -> XNemo:
        """Check the published checkpoints in `folder`, one network at a time.

        On a CPU one network is in memory at a time, on other devices all stay.

        Raises:
            InputError: a file is missing, broken, or holds other keys or shapes; options that
                cannot be.

        """
        options = options or XNemoOptions()
        _check_options(options)
        place = find_device(device)
        shelf = Shelf(xnemo_parts(folder, sizes or Sizes()), place, keep=place.type != "cpu")
        shelf.check()
        return cls(shelf, detector or CenterFaceDetector(), options, place)

    @property
    def summary(self) -> str:
        """One line: what was loaded."""
        return f"{self._shelf.summary}; {self._options.steps} steps at {self._options.side_px} px"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoints and the options."""
        return self._shelf.fingerprint("xnemo", astuple(self._options))

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield one picture a frame, uint8 [256, 256, 3]; all frames are read before the first.

        Raises:
            InputError: a picture of another size or type, or no face in the photo or first frame.

        """
        check_picture(photo, "photo")
        driving = check_pictures(frames)
        if not driving:
            return
        # motion first: it needs little memory, and finds what is wrong with the pictures
        told = self._photo_motion(photo), self._motion(driving)
        yield from self._decode(self._sample(self._conditions(photo, *told)))

    def encode(self, frames: Iterable[Array]) -> Array:
        """Return codes [number of frames, 512]: the motion tokens, face box left out."""
        driving = check_pictures(frames)
        codes: Array = self._motion(driving)[0].flatten(1).cpu().numpy()
        return codes

    def _photo_motion(self, photo: Array) -> Tensor:
        try:
            return self._motion([photo])
        except InputError as error:
            raise InputError("photo: want a face, got none; take another photo") from error

    @torch.inference_mode()
    def _motion(self, pictures: Sequence[Array]) -> Tensor:
        """Return motion tokens [1, F, T, C]."""
        with self._shelf.take("motion") as network:
            assert isinstance(network, MotionEncoder)
            dims = network.dims
            crops = face_crops(pictures, self._detector, dims.side)
            shape = 0, dims.code // dims.token, dims.token
            tokens = [torch.zeros(shape, device=self._device)]
            for start in range(0, len(crops), _AT_ONCE):
                faces = to_tensor(crops[start : start + _AT_ONCE], self._device) * 2 - 1
                boxes = torch.tensor(_BOX, device=self._device).expand(1, len(faces), 3)
                tokens.append(network(faces.transpose(0, 1)[None], boxes)[0])
        return torch.cat(tokens)[None]

    @torch.inference_mode()
    def _conditions(self, photo: Array, photo_motion: Tensor, motion: Tensor) -> Conditions:
        side = self._options.side_px
        picture = enlarged(to_tensor([photo], self._device), side)
        with self._shelf.take("vae") as network:
            latent = picture_latent(network, picture * 2 - 1)
        del network  # before the next one comes
        with self._shelf.take("clip") as network:
            context = picture_embedding(network, picture)
        del network
        with self._shelf.take("reference") as network:
            bank = network(latent, context)[1]
        return Conditions(latent, context, bank, photo_motion, motion)

    @torch.inference_mode()
    def _sample(self, told: Conditions) -> Tensor:
        """Return clean latents [1, C, F, H, W]."""
        options, frames = self._options, told.motion_1FTC.shape[1]
        random = torch.Generator().manual_seed(options.seed)
        start = blurred(told.latent_14HW)[:, :, None].expand(-1, -1, frames, -1, -1)
        noise = torch.randn(start.shape, generator=random).to(start)
        timesteps = descent(options.steps)
        latent = self._schedule.noised(start, noise, torch.tensor(timesteps[:1]))
        with self._shelf.take("denoising") as network:
            assert isinstance(network, DenoisingUNet)
            for timestep in timesteps:
                offset = int(torch.randint(options.window, (), generator=random))
                parts = windows(frames, options.window, options.overlap, offset)
                time = torch.tensor([timestep])
                guide = functools.partial(self._guided, network, told, time.to(latent.device))
                stride = TRAINED_STEPS // options.steps
                latent = self._schedule.step(latent, blend(latent, parts, guide), time, stride)
        return latent

    def _guided(
        self, network: DenoisingUNet, told: Conditions, time: Tensor, latent: Tensor, part: range
    ) -> Tensor:
        """Return the noise in a window's frames, away from what a photo at rest would have."""
        motion = told.motion_1FTC[:, part.start : part.stop]
        noise: Tensor = network(latent, time, told.context_1TC, motion, told.bank)
        if self._options.guidance == 1:
            return noise
        rest = told.photo_motion_1FTC.expand_as(motion)
        without: Tensor = network(latent, time, torch.zeros_like(told.context_1TC), rest)
        return without + self._options.guidance * (noise - without)

    @torch.inference_mode()
    def _decode(self, latent_1CFHW: Tensor) -> Iterator[Array]:
        latents = latent_1CFHW[0].transpose(0, 1) / LATENT_SCALE
        with self._shelf.take("vae") as network:
            for start in range(0, len(latents), _AT_ONCE):
                few = latents[start : start + _AT_ONCE]
                pictures = network.decode(few, num_frames=len(few)).sample  # type: ignore[operator]
                yield from to_pictures(pictures / 2 + 0.5)


def xnemo_parts(folder: Path, sizes: Sizes) -> dict[str, Part]:
    """Return the networks that the published files make up.

    Raises:
        InputError: a file is missing.

    """
    return {
        "motion": Part(
            (find_checkpoint(folder, "xnemo_motion_encoder"),), lambda: MotionEncoder(sizes.motion)
        ),
        "reference": Part(
            (find_checkpoint(folder, "xnemo_reference_unet"),), lambda: ReferenceUNet(sizes.unet)
        ),
        "denoising": Part(
            (
                find_checkpoint(folder, "xnemo_denoising_unet"),
                find_checkpoint(folder, "xnemo_temporal_module"),
            ),
            lambda: DenoisingUNet(sizes.unet),
        ),
        "vae": video_vae_part(folder, sizes),
        "clip": clip_part(folder, sizes),
    }


def to_tensor(pictures: Sequence[Array], device: torch.device) -> Tensor:
    """Return [B, 3, H, W] in 0..1 of uint8 [H, W, 3] pictures."""
    stacked = np.stack(pictures).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked)).to(device).float() / 255


def enlarged(pictures_B3HW: Tensor, side_px: int) -> Tensor:
    """Return pictures of another side, in 0..1."""
    sized = F.interpolate(
        pictures_B3HW, (side_px, side_px), mode="bicubic", antialias=True, align_corners=False
    )
    return sized.clamp(0, 1)


def to_pictures(pictures_B3HW: Tensor) -> Iterator[Array]:
    """Yield uint8 [256, 256, 3] of pictures in 0..1 of any side.

    Raises:
        InputError: NaN or infinity.

    """
    if not torch.isfinite(pictures_B3HW).all():
        raise InputError("want pictures in 0..1, got NaN; the checkpoints do not fit each other")
    small = F.interpolate(
        pictures_B3HW, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True, align_corners=False
    )
    rounded = (small * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    for picture in rounded.transpose(0, 2, 3, 1):
        yield np.ascontiguousarray(picture)


def _check_options(options: XNemoOptions) -> None:
    if not 1 <= options.steps <= TRAINED_STEPS:
        raise InputError(f"steps: want 1 to {TRAINED_STEPS}, got {options.steps}; 35 is usual")
    if not 0 <= options.overlap < options.window <= 32:
        raise InputError(
            f"windows: want 0 <= overlap < window <= 32, got overlap {options.overlap} and window"
            f" {options.window}; 4 and 24 are usual"
        )
    if options.side_px < 64 or options.side_px % 64:
        raise InputError(f"side: want a multiple of 64 px, got {options.side_px}; 512 is usual")
