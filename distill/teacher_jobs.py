"""What a teacher is asked to render: photos, each with the frames that it shall perform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.distill.clips import Clips
from pocketportrait.errors import InputError
from pocketportrait.models.teachers.recorded import Recording


@dataclass(frozen=True, slots=True)
class Job:
    """One photo and the frames of one driver, read when they are needed."""

    name: str  # for people
    photo: Callable[[], Array]  # uint8 [256, 256, 3]
    driver: Callable[[], Array]  # uint8 [N, 256, 256, 3]; the first is the neutral one


def cross_jobs(
    clips: Clips, people: Sequence[str], *, count: int, frames: int, seed: int
) -> list[Job]:
    """Draw pairs of a photo of one person and a driving clip of another.

    Pair number k depends on the seed and on k alone, so a larger `count` only adds pairs.

    Args:
        clips: labelled clips, decoded at 256 px.
        people: who each clip shows; "unknown" counts as a person that no other clip shows.
        count: how many pairs.
        frames: the most driving frames of a pair, successive labelled frames of the clip.
        seed: of the draw.

    Raises:
        InputError: all clips show one person.

    """
    who = [f"{name} {k}" if name == "unknown" else name for k, name in enumerate(people)]
    if len(set(who)) < 2:
        raise InputError(
            f"want clips of at least two people, got {len(who)} of one; add clips of somebody else"
        )
    return [_cross_job(clips, who, frames, np.random.default_rng([seed, k])) for k in range(count)]


def _cross_job(clips: Clips, who: list[str], frames: int, rng: np.random.Generator) -> Job:
    clip = int(rng.integers(len(who)))
    others = [k for k, name in enumerate(who) if name != who[clip]]
    driver = int(rng.choice(others))
    photo = int(clips.start[clip] + rng.integers(len(clips.labels[clip])))
    length = min(frames, len(clips.labels[driver]))
    begin = int(clips.start[driver] + rng.integers(len(clips.labels[driver]) - length + 1))
    return Job(
        f"{clips.names[clip]} by {clips.names[driver]}",
        lambda: np.asarray(clips.frames[photo]),
        lambda: np.asarray(clips.frames[begin : begin + length]),
    )


def recorded_jobs(recordings: Sequence[Recording]) -> list[Job]:
    """Return what was recorded, whole: a recording knows no other pairs."""
    return [
        Job(repr(one), one.photo, lambda one=one: np.stack(list(one.driver())))  # type: ignore[misc]
        for one in recordings
    ]
