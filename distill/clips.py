"""Labelled clips as training pairs: frames in one memory-mapped cache, drawn by step number alone."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from pocketportrait import atomic
from pocketportrait.contract import Array
from pocketportrait.distill.labels import ClipLabels
from pocketportrait.distill.targets import Targets, mirrored_blendshapes, mirrored_pose
from pocketportrait.errors import InputError

LEAST_FRAMES = 8  # clips with fewer labelled frames give no useful pairs
# blendshapes whose extremes are rare and looked at: blinks, jaw, smile, pucker, brows, squint
SOUGHT = ((9, 10), (25,), (44, 45), (38,), (3, 4, 5), (19, 20))
SEEK, STAY = 0.5, 0.06  # how often an extreme is sought, and the photo itself is the target
TOP = 8  # an extreme is one of a clip's frames in the top 1/8


@dataclass(frozen=True, slots=True)
class Pairs:
    """B pairs of frames of one clip each: the photo, and the frame that it shall become."""

    photo: Array  # [B, S, S, 3] uint8
    target: Array  # [B, S, S, 3] uint8
    photo_points: Array  # [B, 478, 2], 0..1
    target_points: Array  # [B, 478, 2], 0..1
    pose: Array  # [2B, 6]: of the photos, then of the targets
    blendshapes: Array  # [2B, 52]
    shape: Array  # [2B, 956]
    has_shape: Array  # [2B]: 0 where the pair is mirrored


class Clips:
    """All labelled clips of a folder.

    What is drawn depends on the seed and the step only, so a run that is stopped and resumed, or
    spread over processes, sees the same pairs in the same order.
    """

    def __init__(self, data: Path, labels: Path, cache: Path, side: int = 256) -> None:
        """Read the labels; decode every labelled frame once into `cache`.

        Raises:
            InputError: no clip has labels.

        """
        self.names: list[str] = []
        self.labels: list[ClipLabels] = []
        for path in sorted((data / "clips").glob("*.mp4")):
            file = labels / f"{path.stem}.safetensors"
            if file.is_file() and len(read := ClipLabels.read(file)) >= LEAST_FRAMES:
                self.names.append(path.name)
                self.labels.append(read)
        if not self.names:
            raise InputError(
                f"{labels}: want labels of the clips in {data}/clips; run: pocketportrait label {data}"
            )
        self.start = np.concatenate([[0], np.cumsum([len(one) for one in self.labels])])
        folder = data / "clips"
        wanted = [(folder / n, one.frame) for n, one in zip(self.names, self.labels, strict=True)]
        self.frames = cached_frames(wanted, cache, side)
        self.targets = [Targets.of(one) for one in self.labels]
        weight = np.array(
            [2.0 if origin == "footage" else 1.0 for origin in origins(data, self.names)]
        )
        self.chance = weight / weight.sum()

    def draw(self, count: int, seed: int, step: int, *, share: slice = slice(None)) -> Pairs:
        """Return the `share` of `count` pairs that belongs to this step."""
        rng = np.random.default_rng([seed, step])
        picked = [self._pick(rng) for _ in range(count)][share]
        return self.collect(picked)

    def _pick(self, rng: np.random.Generator) -> tuple[int, int, int, bool]:
        """Choose a clip, a photo, a target, and whether both are mirrored.

        A blink is one frame in thirty: targets drawn evenly hardly ever ask for a closed eye.
        """
        clip = int(rng.choice(len(self.names), p=self.chance))
        mirror = bool(rng.random() < 0.5)
        way = rng.random()
        if way < SEEK:
            return clip, *self._extreme(clip, rng), mirror
        photo, target = self._apart(clip, rng)
        return clip, photo, photo if way > 1 - STAY else target, mirror

    def _extreme(self, clip: int, rng: np.random.Generator) -> tuple[int, int]:
        """Choose any photo, and a target in which one expression is near the clip's strongest."""
        blend = self.labels[clip].blendshapes
        most = strongest(blend, rng)
        photo, target = int(rng.integers(len(blend))), int(rng.choice(most))
        return (target, photo) if rng.random() < 0.2 else (photo, target)

    def _apart(self, clip: int, rng: np.random.Generator) -> tuple[int, int]:
        """Choose a photo and of three candidates the frame that differs most, or any."""
        labels = self.labels[clip]
        photo, *candidates = rng.integers(len(labels), size=4)
        blend, points = labels.blendshapes, labels.points
        differs = [
            np.abs(points[photo] - points[k]).mean() * 20 + np.abs(blend[photo] - blend[k]).mean()
            for k in candidates
        ]
        prefer = rng.random() < 0.6
        target = candidates[int(np.argmax(differs))] if prefer else candidates[0]
        return int(photo), int(target)

    def collect(self, picked: Sequence[tuple[int, int, int, bool]]) -> Pairs:
        """Return the pairs (clip, row of the photo, row of the target, mirrored)."""
        images: list[list[Array]] = [[], []]
        points: list[list[Array]] = [[], []]
        rows: list[list[tuple[Array, Array, Array]]] = [[], []]
        for clip, *pair, mirror in picked:
            for role, index in enumerate(pair):
                image, place = (
                    self.frames[self.start[clip] + index],
                    self.labels[clip].points[index],
                )
                targets = self.targets[clip]
                row = (targets.pose[index], targets.blendshapes[index], targets.shape[index])
                if mirror:
                    image, place = image[:, ::-1], place * [-1, 1] + [1, 0]
                    row = (mirrored_pose(row[0]), mirrored_blendshapes(row[1]), row[2])
                images[role].append(image)
                points[role].append(place.astype(np.float32))
                rows[role].append(row)
        pose, blend, shape = (np.stack([row[k] for row in rows[0] + rows[1]]) for k in range(3))
        has_shape = np.array([0.0 if mirror else 1.0 for *_, mirror in picked] * 2, np.float32)
        return Pairs(
            np.stack(images[0]), np.stack(images[1]), np.stack(points[0]), np.stack(points[1]),
            pose, blend, shape, has_shape,
        )  # fmt: skip


def strongest(blendshapes: Array, rng: np.random.Generator) -> Array:
    """Return the rows of [N, 52] scores in which one sought expression, drawn here, is near its most."""
    courses = np.stack([blendshapes[:, list(columns)].mean(1) for columns in SOUGHT])
    reach = np.ptp(courses, axis=1) + 1e-3
    course = courses[rng.choice(len(SOUGHT), p=reach / reach.sum())]
    return np.argsort(course)[-max(1, len(course) // TOP) :]


def cached_frames(wanted: list[tuple[Path, Array]], cache: Path, side: int) -> Array:
    """Decode frames of clips once into `cache`; return them memory-mapped, one clip after the other.

    Args:
        wanted: clips, each with the indices of its frames (rising).
        cache: a folder; files in it are found again by the clips' names, the indices and `side`.
        side: pixels.

    Returns:
        uint8 [sum of all indices, side, side, 3].

    """
    chosen = [(path.name, indices.tolist()) for path, indices in wanted]
    key = hashlib.sha256(json.dumps([chosen, side]).encode()).hexdigest()[:16]
    file = cache / f"frames-{key}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(file) as temporary:
            shape = (sum(len(indices) for _, indices in wanted), side, side, 3)
            frames = open_memmap(temporary, "w+", np.uint8, shape)
            decoded = (decode(path, indices, side) for path, indices in wanted)
            for row, image in enumerate(itertools.chain.from_iterable(decoded)):
                frames[row] = image
            frames.flush()
    return np.asarray(np.load(file, mmap_mode="r"))


def decode(path: Path, wanted: Array, side: int) -> Iterator[Array]:
    """Yield the frames with the indices `wanted` (rising), [side, side, 3] uint8."""
    import av

    left = list(wanted)
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if left and index == left[0]:
                left.pop(0)
                shape = (
                    {} if frame.width == frame.height == side else {"width": side, "height": side}
                )
                yield frame.reformat(format="rgb24", interpolation="AREA", **shape).to_ndarray()
    if left:
        raise InputError(
            f"{path}: labels name frame {left[0]}, the clip ends before; label it again"
        )


def origins(data: Path, names: list[str]) -> list[str]:
    """Return `origin` of each clip by the nearest manifest.json, or "unknown"."""
    return facts_of(data, names, "origin")


def facts_of(data: Path, names: list[str], key: str) -> list[str]:
    """Return what the nearest manifest.json says as `key` of each clip, or "unknown"."""
    for folder in (data, data.parent):
        if (manifest := folder / "manifest.json").is_file():
            clips = json.loads(manifest.read_text()).get("clips", [])
            known = {Path(clip["file"]).name: str(clip.get(key, "unknown")) for clip in clips}
            return [known.get(name, "unknown") for name in names]
    return ["unknown"] * len(names)
