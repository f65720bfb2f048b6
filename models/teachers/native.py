"""Our own teacher: a large network of the student's design, trained by `pocketportrait train`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.models.dims import graph_specs, native
from pocketportrait.models.student import Student
from pocketportrait.models.teachers.checkpoint import find_device
from pocketportrait.models.teachers.protocol import SIDE_PX, check_picture
from pocketportrait.models.weights import load_student

BATCH = 8  # frames that are encoded at once


class NativeTeacher:
    """A `Teacher` with codes; motion is relative to the first frame."""

    def __init__(self, network: Student, file: Path, device: str = "cpu") -> None:
        """Take a loaded network; `open` is the way from a folder."""
        self._device = find_device(device)
        self._network = network.eval().to(self._device)
        self._file = file

    @classmethod
    def open(cls, folder: Path, *, device: str = "cpu") -> NativeTeacher:
        """Load the only `.safetensors` weights of a folder.

        Raises:
            InputError: none or several weights there, broken ones, or ones of another side than the
                pictures of distillation.

        """
        files = sorted(folder.glob("*student*.safetensors"))
        if len(files) != 1:
            raise InputError(
                f"{folder}: want one student.safetensors, got {len(files)}; `pocketportrait train"
                " --preset native` writes it"
            )
        network = load_student(files[0])
        if network.dims.side != SIDE_PX:
            raise InputError(f"{files[0]}: want side {SIDE_PX}, got {network.dims.side}")
        return cls(network, files[0], device)

    @property
    def summary(self) -> str:
        """One line: what was loaded."""
        count = sum(weight.numel() for weight in self._network.parameters())
        return f"native: {count / 1e6:.1f} M parameters, codes of {self._network.dims.code}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        with self._file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @torch.no_grad()
    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield what the photo makes of each frame; the first frame is the neutral one.

        Args:
            photo: uint8 [256, 256, 3].
            frames: uint8 [256, 256, 3].

        Raises:
            InputError: a picture of another size or type.

        """
        image = self._tensor([check_picture(photo, "photo")])
        maps, source = self._network.appearance(image), self._network.motion(image)
        neutral: Tensor | None = None
        for index, frame in enumerate(frames):
            code = self._network.motion(self._tensor([check_picture(frame, f"frame {index}")]))
            neutral = code if neutral is None else neutral
            drawn = self._network.render(*maps, source, source + (code - neutral))[0]
            yield (drawn * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def encode(self, frames: Iterable[Array]) -> Array:
        """Return the codes of frames (uint8 [256, 256, 3]) as float32 [number of frames, K].

        Raises:
            InputError: a picture of another size or type.

        """
        codes = [np.zeros((0, self._network.dims.code), np.float32)]
        held: list[Array] = []
        for index, frame in enumerate(frames):
            held.append(check_picture(frame, f"frame {index}"))
            if len(held) == BATCH:
                codes.append(self._network.motion(self._tensor(held)).cpu().numpy())
                held = []
        if held:
            codes.append(self._network.motion(self._tensor(held)).cpu().numpy())
        return np.concatenate(codes)

    def _tensor(self, pictures: list[Array]) -> Tensor:
        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        return stacked.permute(0, 3, 1, 2).float() / 255


def gflop() -> Mapping[str, float]:
    """Return the cost of each graph's one pass, counted on shapes alone (a MAC is 2 FLOP)."""
    dims = native()
    costs = {}
    with torch.device("meta"), torch.no_grad():
        network = Student(dims).eval()
        for graph in GRAPHS:
            feed = [torch.zeros(spec.shape) for spec in graph_specs(dims)[graph].inputs]
            with FlopCounterMode(display=False) as counter:
                getattr(network, graph)(*feed)
            costs[graph] = counter.get_total_flops() / 1e9
    return costs
