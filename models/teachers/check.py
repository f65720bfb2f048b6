"""Is this folder a teacher? Strict load, golden outputs, one picture, and what a frame costs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pocketportrait.contract import Array
from pocketportrait.media.crop import cut, ready_crop
from pocketportrait.media.photo import read_photo, write_picture
from pocketportrait.media.samples import sample_drivers, sample_photos
from pocketportrait.media.video import VideoReader
from pocketportrait.models.teachers.golden import TOLERANCE, read_golden
from pocketportrait.models.teachers.protocol import Teacher, check_picture
from pocketportrait.models.teachers.recorded import RecordedTeacher
from pocketportrait.models.teachers.registry import Kind, find_kind

Tell = Callable[[str], None]

_EXPRESSIVE = 25  # the sample driver's frame that is rendered against its first


def check_teacher(
    name: str, folder: Path, tell: Tell, *, device: str = "cpu", picture: Path | None = None
) -> bool:
    """Tell one line a fact, and return whether every golden output was met.

    Args:
        name: kind of teacher.
        folder: its checkpoints or recordings.
        tell: takes each line as soon as it is known.
        device: where networks run, in torch's words.
        picture: where the rendered picture goes, if anywhere.

    Raises:
        InputError: no such kind, or the folder does not hold exactly what it needs.

    """
    kind = find_kind(name)
    teacher = (kind.trial or kind.open)(folder, device)
    tell(f"loaded: {teacher.summary}")
    if isinstance(teacher, RecordedTeacher):
        frames = sum(recording.check() for recording in teacher.recordings)
        tell(f"recordings: {frames} frames, each with its driver's")
    passed = _check_golden(kind, device, tell)
    _render(teacher, tell, picture)
    tell(f"cost: {_cost(kind.gflop(), kind.once) if kind.gflop else 'none, it plays recordings'}")
    tell(f"memory: peak {_peak_mib(device):.0f} MiB")
    return passed


def _check_golden(kind: Kind, device: str, tell: Tell) -> bool:
    if kind.outputs is None:
        tell("golden: not for this kind")
        return True
    golden = read_golden(kind.name)
    found = {name: golden[name].difference(value) for name, value in kind.outputs(device)}
    worst = max(found, key=lambda name: found[name])
    missing = sorted(golden.keys() - found.keys())
    passed = not missing and found[worst] < TOLERANCE
    tell(
        f"golden: {'passed' if passed else 'FAILED'}, {len(found)} of {len(golden)} outputs from the"
        f" formula's weights, largest relative L2 {found[worst]:.1e} ({worst}), want < {TOLERANCE:.0e}"
    )
    return passed


def _render(teacher: Teacher, tell: Tell, path: Path | None) -> None:
    photo, frames = _example(teacher)
    start = time.perf_counter()
    rendered = [check_picture(one, "rendered picture") for one in teacher.animate(photo, frames)]
    seconds = time.perf_counter() - start
    last = rendered[-1]
    where = ""
    if path is not None:
        write_picture(path, last)
        where = f" -> {path}"
    tell(
        f"frame: {last.shape[1]}x{last.shape[0]}, mean {last.mean():.0f}, spread {last.std():.0f};"
        f" {len(frames)} frames in {seconds:.1f} s{where}"
    )


def _example(teacher: Teacher) -> tuple[Array, list[Array]]:
    """Return a photo and frames: the sample's neutral one and another; or what was recorded."""
    if isinstance(teacher, RecordedTeacher):
        recording = teacher.recordings[0]
        return recording.photo(), [next(recording.driver())]
    photo = read_photo(sample_photos()[0])
    frames = [
        frame.rgb
        for frame in VideoReader(sample_drivers()[0]).frames()
        if frame.index in (0, _EXPRESSIVE)
    ]
    return _framed(photo), [_framed(frame) for frame in frames]


def _framed(picture: Array) -> Array:
    return cut(picture, ready_crop((picture.shape[1], picture.shape[0])))


def _cost(gflop: Mapping[str, float], once: tuple[str, ...]) -> str:
    def listed(costs: dict[str, float]) -> str:
        parts = ", ".join(f"{name} {cost:.1f}" for name, cost in costs.items())
        return f"{sum(costs.values()):.1f} GFLOP ({parts})"

    photo = {name: cost for name, cost in gflop.items() if name in once}
    frame = {name: cost for name, cost in gflop.items() if name not in once}
    return f"{listed(frame)} a frame, {listed(photo)} a photo"


def _peak_mib(device: str) -> float:
    """Return the most memory that was held: of the GPU if one was used, else of this process."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    try:
        import resource  # not on Windows
    except ModuleNotFoundError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere
