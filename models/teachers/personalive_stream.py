"""PersonaLive's stream: four windows in the network at once, each a step further than the next.

A new window of frames enters as the photo's latent at the noisiest step; whenever one enters, all move a
step, and the oldest comes out clean. Windows before the first lead from the photo to the driver.

Shape suffixes: C channels, F frames, T tokens, H and W latent pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pocketportrait.models.teachers.xnemo_layers import Bank
from pocketportrait.models.teachers.xnemo_sampling import Schedule

WINDOW = 4  # frames
STRIDE = 333
TIMESTEPS = (0, 333, 666, 999)  # of the windows, the oldest first
LEAD = WINDOW * (len(TIMESTEPS) - 1)  # frames before the first
_KEYFRAMES = 3  # painted frames that the network may look at, beside the photo
_FIRST_KEYFRAME = 2 * len(TIMESTEPS) + 1  # window
_FAR = 17.0  # a motion code this far from all that were seen makes a keyframe


class Told(NamedTuple):
    """What the denoising network is told of a run of frames: motion tokens, and pose features."""

    motion_1FTC: Tensor
    pose_1CFHW: Tensor


Denoise = Callable[
    [Tensor, Tensor, Told, Bank], Tensor
]  # latent, timesteps of frames, and the rest


class Keyframes:
    """Which painted frames the network looks at, beside the photo."""

    def __init__(self, photo_motion_1TC: Tensor, bank: Bank) -> None:
        """Start with the photo."""
        self.bank = bank
        self._seen = photo_motion_1TC.flatten(1)
        self._windows = 0

    def wants(self, motion_1TC: Tensor) -> bool:
        """Return whether this motion, of the oldest frame inside, is far from all keyframes'."""
        self._windows += 1
        full = len(self._seen) > _KEYFRAMES
        if full or self._windows <= _FIRST_KEYFRAME:
            return False
        code = motion_1TC.flatten(1)
        far = bool(torch.cdist(code, self._seen).min() > _FAR)
        if far:
            self._seen = torch.cat([self._seen, code])
        return far

    def add(self, tokens: Bank) -> None:
        """Let the network look at one more frame."""
        self.bank = tuple(torch.cat(pair, 1) for pair in zip(self.bank, tokens, strict=True))


def stream(
    photo_14HW: Tensor,
    windows: Iterator[Told],
    keyframes: Keyframes,
    denoise: Denoise,
    reference: Callable[[Tensor], Bank],
    random: torch.Generator,
) -> Iterator[Tensor]:
    """Yield clean latents [1, C, 4, H, W], one for each window after the first three.

    Args:
        photo_14HW: the photo's latent.
        windows: what is told of every window; the first three lead to the driver's first frame.
        keyframes: what the network looks at.
        denoise: says the noise.
        reference: tokens of a clean latent, for a keyframe.
        random: draws the noise.

    """
    schedule = Schedule()
    told: list[Told] = []
    still = photo_14HW[:, :, None].expand(-1, -1, WINDOW, -1, -1)

    def enter(timestep: int) -> Tensor:
        noise = torch.randn(still.shape, generator=random).to(still)
        return schedule.noised(still, noise, torch.tensor([timestep]))

    latents = [enter(timestep) for timestep in TIMESTEPS[:-1]]
    times = torch.tensor(TIMESTEPS).repeat_interleave(WINDOW)
    for count, window in enumerate(windows):
        told.append(window)
        if len(told) < len(TIMESTEPS):
            continue
        latent = torch.cat([*latents, enter(TIMESTEPS[-1])], 2)
        motion = torch.cat([one.motion_1FTC for one in told], 1)
        pose = torch.cat([one.pose_1CFHW for one in told], 2)
        noise = denoise(latent, times, Told(motion, pose), keyframes.bank)
        latent = schedule.step(latent, noise, times, STRIDE)
        oldest, *latents = torch.split(latent, WINDOW, 2)
        if keyframes.wants(motion[:, 0]):
            keyframes.add(reference(oldest[:, :, 0]))
        told.pop(0)
        if count >= 2 * (len(TIMESTEPS) - 1):  # windows that led here are not the driver's
            yield oldest
