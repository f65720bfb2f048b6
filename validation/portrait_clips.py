"""The clips that are scored: which a folder holds, their frames, and who performs whom across people."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from pocketportrait.bundle.manifest import relative_path
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.photo import read_photo, require_file
from pocketportrait.media.resample import resample
from pocketportrait.media.video import plain_frames
from pocketportrait.validation.portrait import SIDE_PX

MANIFEST = "manifest.json"
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")
ALL_SPLITS = "all"
SHOWN_NAMES = 5  # of clips, in a message


@dataclass(frozen=True, slots=True)
class Clip:
    """A framed clip, or the photo of a person (then `path` is a picture)."""

    name: str
    path: Path
    identity: str = ""
    origin: str = ""

    def first_frame(self) -> Array:
        """Return the picture or the clip's first frame, uint8 [256, 256, 3]."""
        if self.path.suffix.lower() in VIDEO_SUFFIXES:
            return fit(next(frames_of(self.path)), SIDE_PX)
        return fit(square(read_photo(self.path), self.path), SIDE_PX)


class _Item(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    file: Annotated[str, AfterValidator(relative_path)]
    split: str = ""
    identity: str = ""
    origin: str = ""
    style: str = ""


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    clips: tuple[_Item, ...]
    photos: tuple[_Item, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a folder has to score with."""

    clips: tuple[Clip, ...]
    photos: tuple[Clip, ...] = ()

    @classmethod
    def read(cls, data: Path, *, split: str = "val", origin: str | None = None) -> HeldOut:
        """Find the clips of a folder.

        Args:
            data: a folder with `manifest.json` (in it or just above it), or with videos, or `clips/`.
            split: of the manifest; items that name none count too, and `all` takes every split.
            origin: of the manifest, such as `footage`; all by default.

        Raises:
            InputError: no folder, no clips, a broken manifest, or files that it names are not there.

        """
        if not data.is_dir():
            raise InputError(f"{data}: want a folder with clips, got none; check the path")
        roots = [root for root in (data, data.resolve().parent) if (root / MANIFEST).is_file()]
        if roots:
            found = _listed(roots[0], data, split)
        else:
            folder = data / "clips" if (data / "clips").is_dir() else data
            found = cls(tuple(Clip(f.stem, f) for f in sorted(folder.iterdir()) if is_video(f)))
        clips = tuple(c for c in found.clips if origin in (None, c.origin))
        if not clips:
            asked = f" of split {split}" + (f" and origin {origin}" if origin else "")
            raise InputError(
                f"{data}: want {MANIFEST} or videos with clips{asked if roots else ''}, got none;"
                " check --data, --split and --origin"
            )
        for clip in clips:
            require_file(clip.path, "video")
        return cls(clips, found.photos)

    def only(self, names: Sequence[str]) -> HeldOut:
        """Return the clips with these names, in their order.

        Raises:
            InputError: there is no such clip.

        """
        known = {clip.name: clip for clip in self.clips}
        if unknown := [name for name in names if name not in known]:
            raise InputError(
                f"want clips such as {', '.join(list(known)[:SHOWN_NAMES])}, got"
                f" {', '.join(unknown[:SHOWN_NAMES])}; check --clips"
            )
        return HeldOut(tuple(known[name] for name in dict.fromkeys(names)), self.photos)


def _listed(root: Path, data: Path, split: str) -> HeldOut:
    path = root / MANIFEST
    try:
        manifest = _Manifest.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{path}: want JSON with clips, each with its file, got: {first}; write it again"
        ) from error
    inside = data.resolve()

    def chosen(items: Sequence[_Item]) -> tuple[Clip, ...]:
        return tuple(
            Clip(Path(item.file).stem, root / item.file, item.identity, item.origin)
            for item in items
            if split in (item.split or split, ALL_SPLITS)
            and (root / item.file).resolve().is_relative_to(inside)
        )

    return HeldOut(
        chosen(manifest.clips), chosen([p for p in manifest.photos if p.style in ("", "photo")])
    )


def choose_pairs(
    drivers: Sequence[Clip], people: Sequence[Clip], count: int
) -> tuple[tuple[Clip, Clip], ...]:
    """Return `count` pairs of a driver and the photo of another person, the same ones every time.

    Drivers take turns; the order of a driver's photos is that of a hash of both names.

    Args:
        drivers: clips.
        people: photos, or clips whose first frame is the photo.
        count: how many pairs; fewer come back where there are no more.

    """
    pairs: list[tuple[Clip, Clip]] = []
    orders = [
        sorted((p for p in people if _differ(driver, p)), key=lambda p: _draw(driver, p))
        for driver in drivers
    ]
    for turn in range(max(map(len, orders), default=0)):
        for driver, order in zip(drivers, orders, strict=True):
            if turn < len(order) and len(pairs) < count:
                pairs.append((driver, order[turn]))
    return tuple(pairs)


def _differ(one: Clip, other: Clip) -> bool:
    return one.name != other.name and (not one.identity or one.identity != other.identity)


def _draw(one: Clip, other: Clip) -> bytes:
    return hashlib.sha256(f"{one.name} {other.name}".encode()).digest()


def is_video(path: Path) -> bool:
    """Say whether a file is named as a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def frames_of(path: Path) -> Iterator[Array]:
    """Yield a clip's frames, uint8 [S, S, 3], converted to RGB as the reference scorer does.

    `media.video` converts more exactly, but its levels differ by about one: figures would not compare.

    Raises:
        InputError: no video, not square, damaged, or without frames.

    """
    for picture in plain_frames(path):
        yield square(picture, path)


def square(picture: Array, path: Path) -> Array:
    """Return a picture if it is square.

    Raises:
        InputError: it is not, so it was not framed.

    """
    height, width = picture.shape[:2]
    if height != width:
        raise InputError(
            f"{path}: want square pictures framed on a face, got {width}x{height}; crop them first"
        )
    return picture


def fit(picture: Array, side: int) -> Array:
    """Return a square picture with another side; of the same side it comes back as it is."""
    own = picture.shape[0]
    if own == side:
        return np.ascontiguousarray(picture)
    return resample(picture, (0, 0, own, own), (side, side))
