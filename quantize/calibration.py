"""Calibration sets: the few frames that ranges are measured on, chosen and written down once.

Frames are chosen by coverage: of all candidates those whose motion codes lie farthest from the chosen
ones (greedy k-centre, Gonzalez 1985), so that rare poses and expressions are among few frames. The
manifest names clips by their sha256; a set never holds a clip that outputs are scored on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import cut, ready_crop
from pocketportrait.media.video import VideoReader
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import open_runner

SCHEMA_VERSION: Final = 1
SCORED = "val"  # the split whose clips outputs are scored on
LISTING = "manifest.json"  # of a data folder: its clips, their sha256 and their split
VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
NUM_FRAMES, MAX_CLIPS, EVERY = 32, 40, 12

Feed = dict[str, Array]  # inputs of one graph by name, NCHW float32


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CalibrationFrame(_Strict):
    """One driving frame; the photo is the first frame of the same clip."""

    clip: str = Field(description="path below the set's folder")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the clip's file")
    frame: int = Field(ge=0, description="index of the frame in the clip")


class CalibrationSet(_Strict):
    """What ranges are measured on: frames by clip, in the order in which they were chosen."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    folder: str = Field(description="of the clips, relative to the manifest or absolute")
    frames: tuple[CalibrationFrame, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """Return a short digest of which frames these are."""
        chosen = [(frame.sha256, frame.frame) for frame in self.frames]
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Write the manifest, whole or not at all."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Picked:
    """A photo and a driving frame, [side, side, 3] uint8, and where they come from."""

    photo: Array
    frame: Array
    source: str


def read_set(path: Path) -> CalibrationSet:
    """Read a calibration set's manifest.

    Raises:
        InputError: not there, not a manifest of ours, or empty.

    """
    try:
        return CalibrationSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: want a calibration set, got: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise InputError(
            f"{path}: want a calibration set with frames, got {where}: {first['msg']};"
            " make one with `pocketportrait quantize --calibration FOLDER`"
        ) from error


def scored_hashes(folder: Path, listing: Path | None = None) -> frozenset[str]:
    """Return the sha256 of every clip that is scored, by the nearest listing of the data.

    Args:
        folder: where clips are; the folder itself and three above it are looked at.
        listing: a listing to read instead.

    Raises:
        InputError: the listing that was named cannot be read.

    """
    resolved = folder.resolve()
    places = [listing] if listing else [f / LISTING for f in (resolved, *resolved.parents[:3])]
    for place in places:
        if not place.is_file():
            continue
        clips = json.loads(place.read_text()).get("clips")
        if isinstance(clips, list):
            return frozenset(c["sha256"] for c in clips if c.get("split") == SCORED)
    if listing:
        raise InputError(f"{listing}: want a listing with the split of every clip, got none there")
    return frozenset()


def choose_set(
    bundle: Bundle,
    folder: Path,
    *,
    count: int = NUM_FRAMES,
    max_clips: int = MAX_CLIPS,
    every: int = EVERY,
    scored: Collection[str] = (),
) -> CalibrationSet:
    """Choose frames of the clips in a folder by coverage of the code space.

    Args:
        bundle: its onnx/fp32 `motion` makes the codes.
        folder: with clips, directly or in `clips/`, already cut to the face.
        count: frames to choose.
        max_clips: clips to look at, spread evenly over the folder.
        every: one candidate in so many frames.
        scored: sha256 of clips that must not be in the set.

    Raises:
        InputError: no clips, a clip that is scored, or fewer candidates than one.

    """
    clips = clips_in(folder)
    clips = [clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, max_clips).astype(int))]
    hashes = {clip: sha256_of(clip) for clip in clips}
    refuse_scored([(c.name, h) for c, h in hashes.items()], scored)
    candidates: list[CalibrationFrame] = []
    codes: list[Array] = []
    with open_runner(bundle, "onnx", "fp32", "motion", threads=1) as motion:
        side = motion.inputs[0].shape[-1]
        for clip in clips:
            for index, picture in frames_of(clip, side, every):
                code = motion.infer({"frame": as_tensor(picture)})["code"]
                name = clip.relative_to(folder).as_posix()
                candidates.append(CalibrationFrame(clip=name, sha256=hashes[clip], frame=index))
                codes.append(code[0])
    if not candidates:
        raise InputError(f"{folder}: want clips of at least {every + 1} frames, got shorter ones")
    chosen = k_centre(np.stack(codes), count)
    return CalibrationSet(
        name=folder.name, folder=str(folder.resolve()), frames=tuple(candidates[i] for i in chosen)
    )


def k_centre(codes: Array, count: int) -> list[int]:
    """Return indices of points that cover the rest: each is the farthest from those before it.

    Args:
        codes: [N, K]; every column is divided by its spread, so that none drowns the others.
        count: how many; all where there are fewer.

    """
    spread = codes.std(0)
    points = (codes - codes.mean(0)) / np.where(spread > 0, spread, 1)
    chosen = [int(np.argmin((points**2).sum(1)))]  # the most usual one first
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(np.argmax(nearest)))
    return chosen


def refuse_scored(clips: Sequence[tuple[str, str]], scored: Collection[str]) -> None:
    """Refuse clips that outputs are scored on, whatever they are called.

    Raises:
        InputError: naming them.

    """
    overlap = sorted({name for name, digest in clips if digest in scored})
    if overlap:
        raise InputError(
            f"calibration: want clips that nothing is scored on, got {len(overlap)} of the {SCORED} split"
            f" ({', '.join(overlap[:3])}); calibrate on clips of the train split"
        )


def load_pictures(
    chosen: CalibrationSet, manifest: Path | None, side: int, scored: Collection[str] = ()
) -> list[Picked]:
    """Decode the pictures of a set, after comparing the clips with their hashes.

    Raises:
        InputError: a clip is missing, has changed, is scored, or has no such frame.

    """
    folder = Path(chosen.folder)
    if not folder.is_absolute() and manifest is not None:
        folder = manifest.parent / folder
    refuse_scored([(f.clip, f.sha256) for f in chosen.frames], scored)
    wanted: dict[str, set[int]] = {}
    for frame in chosen.frames:
        wanted.setdefault(frame.clip, {0}).add(frame.frame)
    pictures: dict[tuple[str, int], Array] = {}
    hashes = {frame.clip: frame.sha256 for frame in chosen.frames}
    for name, indices in wanted.items():
        clip = folder / name
        if not clip.is_file():
            raise InputError(f"{clip}: want the calibration clip, got nothing there")
        if sha256_of(clip) != hashes[name]:
            raise InputError(f"{clip}: its sha256 is not the listed one; choose the set again")
        for index, picture in frames_of(clip, side, 1):
            if index in indices:
                pictures[name, index] = picture
            if index >= max(indices):
                break
    missing = [f for f in chosen.frames if (f.clip, f.frame) not in pictures]
    if missing:
        raise InputError(f"{missing[0].clip}: ends before frame {missing[0].frame}; choose again")
    return [
        Picked(pictures[f.clip, 0], pictures[f.clip, f.frame], f"{f.clip} frame {f.frame}")
        for f in chosen.frames
    ]


def calibration_feeds(bundle: Bundle, pictures: Sequence[Picked]) -> dict[str, list[Feed]]:
    """Run the fp32 chain over the pictures and return what every graph is fed.

    Returns:
        By graph: one feed a picture, in the contract's layout.

    Raises:
        InputError: a tensor holds NaN, infinity or one value only.

    """
    feeds: dict[str, list[Feed]] = {graph: [] for graph in GRAPHS}
    runners = {g: open_runner(bundle, "onnx", "fp32", g, threads=1) for g in GRAPHS}
    with runners["appearance"] as appearance, runners["motion"] as motion:
        for picked in pictures:
            for graph, feed in _feeds_of(picked, appearance, motion).items():
                check_feed(feed, picked.source)
                feeds[graph].append(feed)
    return feeds


def _feeds_of(
    picked: Picked, appearance: ContractRunner, motion: ContractRunner
) -> dict[str, Feed]:
    photo, frame = as_tensor(picked.photo), as_tensor(picked.frame)
    for name, tensor in (("photo", photo), ("frame", frame)):
        check_feed({name: tensor}, picked.source)
    codes = {
        "source_code": motion.infer({"frame": photo})["code"],
        "driving_code": motion.infer({"frame": frame})["code"],
    }
    features = appearance.infer({"photo": photo})
    return {
        "appearance": {"photo": photo},
        "motion": {"frame": frame},
        "render": {**features, **codes},
    }


def check_feed(feed: Feed, source: str) -> None:
    """Refuse tensors that would spoil ranges in silence.

    Raises:
        InputError: NaN, infinity, or all values equal.

    """
    for name, tensor in feed.items():
        if not np.isfinite(tensor).all():
            raise InputError(f"{source}: {name}: want finite values, got NaN or infinity")
        if np.ptp(tensor) == 0:
            raise InputError(
                f"{source}: {name}: want values that differ, got {float(tensor.flat[0]):g} everywhere;"
                " leave this frame out"
            )


def as_tensor(picture: Array) -> Array:
    """Return a picture [H, W, 3] uint8 as a contract tensor, 0..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def clips_in(folder: Path) -> list[Path]:
    """Return the clips in a folder, or in its `clips/`, by name.

    Raises:
        InputError: there are none.

    """
    inside = folder / "clips" if (folder / "clips").is_dir() else folder
    if not inside.is_dir():
        raise InputError(f"{folder}: want a folder of clips, got nothing there")
    found = sorted(path for path in inside.iterdir() if path.suffix.lower() in VIDEOS)
    if not found:
        raise InputError(f"{inside}: want clips ({', '.join(VIDEOS)}), got none")
    return found


def frames_of(clip: Path, side: int, every: int = 1) -> Iterator[tuple[int, Array]]:
    """Yield index and picture [side, side, 3] uint8 of every so many frames of a framed clip."""
    for frame in VideoReader(clip).frames(every=every):
        height, width = frame.rgb.shape[:2]
        if (height, width) == (side, side):
            yield frame.index, frame.rgb
        else:
            yield frame.index, cut(frame.rgb, ready_crop((width, height)), side)
