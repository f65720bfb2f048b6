"""The kinds of teachers that exist, and how each is opened, proven and costed.

Nothing heavy is imported before a kind is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.models.teachers.protocol import Teacher


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of teacher."""

    name: str
    folder: str  # what the folder holds, for messages
    open: Callable[[Path, str], Teacher]  # folder and device
    outputs: Callable[[str], Iterator[tuple[str, Array]]] | None = None  # golden ones, on a device
    gflop: Callable[[], Mapping[str, float]] | None = None  # by network
    once: tuple[str, ...] = ()  # networks that run once a photo; the others run once a frame
    # how a check opens it to render a frame, where `open` makes one that takes hours on a CPU
    trial: Callable[[Path, str], Teacher] | None = None


def find_kind(name: str) -> Kind:
    """Return a kind by name.

    Raises:
        InputError: there is no such kind.

    """
    if name not in KINDS:
        known = "; ".join(f"{kind.name} ({kind.folder})" for kind in KINDS.values())
        raise InputError(f"teacher {name!r}: want one of those that exist, {known}; got another")
    return KINDS[name]


def open_teacher(name: str, folder: Path, *, device: str = "cpu") -> Teacher:
    """Return the teacher of a kind that a folder holds.

    Raises:
        InputError: no such kind, or the folder does not hold what it needs.

    """
    return find_kind(name).open(folder, device)


def _open_liveportrait(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.liveportrait import LivePortrait

    return LivePortrait.open(folder, device=device)


def _liveportrait_outputs(device: str) -> Iterator[tuple[str, Array]]:
    from pocketportrait.models.teachers.liveportrait_golden import golden_outputs

    for name, value in golden_outputs(device):
        yield name, value.cpu().numpy()


def _liveportrait_gflop() -> Mapping[str, float]:
    from pocketportrait.models.teachers.liveportrait_golden import gflop

    return gflop()


def _open_xnemo(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.xnemo import XNemo

    return XNemo.open(folder, device=device)


def _try_xnemo(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.xnemo import XNemo, XNemoOptions

    options = XNemoOptions(steps=2, side_px=256) if device == "cpu" else None
    return XNemo.open(folder, options=options, device=device)


def _xnemo_outputs(device: str) -> Iterator[tuple[str, Array]]:
    from pocketportrait.models.teachers.xnemo_golden import golden_outputs

    for name, value in golden_outputs(device):
        yield name, value.cpu().numpy()


def _xnemo_gflop() -> Mapping[str, float]:
    from pocketportrait.models.teachers.xnemo_cost import xnemo_gflop

    return xnemo_gflop()


def _open_personalive(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.personalive import PersonaLive

    return PersonaLive.open(folder, device=device)


def _try_personalive(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.personalive import PersonaLive, PersonaLiveOptions

    options = PersonaLiveOptions(side_px=256) if device == "cpu" else None
    return PersonaLive.open(folder, options=options, device=device)


def _personalive_outputs(device: str) -> Iterator[tuple[str, Array]]:
    from pocketportrait.models.teachers.xnemo_golden import shared_outputs

    for name, value in shared_outputs(device):
        yield name, value.cpu().numpy()


def _personalive_gflop() -> Mapping[str, float]:
    from pocketportrait.models.teachers.xnemo_cost import personalive_gflop

    return personalive_gflop()


def _open_native(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.native import NativeTeacher

    return NativeTeacher.open(folder, device=device)


def _native_gflop() -> Mapping[str, float]:
    from pocketportrait.models.teachers.native import gflop

    return gflop()


def _open_recorded(folder: Path, device: str) -> Teacher:
    from pocketportrait.models.teachers.recorded import RecordedTeacher

    return RecordedTeacher.open(folder)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "liveportrait",
            "the five published checkpoints, .pth or .safetensors",
            _open_liveportrait,
            _liveportrait_outputs,
            _liveportrait_gflop,
            once=("appearance",),
        ),
        Kind(
            "xnemo",
            "the four published xnemo_* checkpoints, with vae and image_encoder beside them",
            _open_xnemo,
            _xnemo_outputs,
            _xnemo_gflop,
            once=("encode", "embed", "reference"),
            trial=_try_xnemo,
        ),
        Kind(
            "personalive",
            "the six published checkpoints, with vae and image_encoder beside them",
            _open_personalive,
            _personalive_outputs,
            _personalive_gflop,
            once=("encode", "embed", "reference"),
            trial=_try_personalive,
        ),
        Kind(
            "native",
            "a student.safetensors that `train --preset native` wrote",
            _open_native,
            gflop=_native_gflop,
            once=("appearance",),
        ),
        Kind(
            "recorded", "triples.json with the photos, drivers and outputs it names", _open_recorded
        ),
    )
}
