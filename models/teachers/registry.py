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
            "recorded", "triples.json with the photos, drivers and outputs it names", _open_recorded
        ),
    )
}
