"""Rendered pairs as training batches, drawn by step number alone, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.distill.augment import draw_place, jitter_colour, place
from pocketportrait.distill.clips import SEEK, Clips, Pairs, cached_frames, strongest
from pocketportrait.distill.objective import to_pictures
from pocketportrait.distill.teacher_pairs import PairRecord, PairStore
from pocketportrait.errors import InputError

LABELS = ("photo_points", "target_points", "pose", "blendshapes", "shape", "has_shape")
OF_BOTH = ("pose", "blendshapes", "shape", "has_shape")  # rows of photos, then those of targets


class Pick(NamedTuple):
    """One sample of a batch."""

    clip: int  # number of the pair's clip
    row: int  # labelled frame of the clip; row 0 is the photo
    mirror: bool
    place: int  # in the batch of all processes: augmentation depends on it


class TeacherBatches:
    """Labelled pairs of one teacher, decoded at the student's side."""

    def __init__(
        self,
        store: PairStore,
        records: Sequence[PairRecord],
        cache: Path,
        side: int,
        labels: Path | None = None,
    ) -> None:
        """Read labels and codes; decode every frame once into `cache`.

        Raises:
            InputError: no pair of `records` has labels of its photo and of enough pictures.

        """
        self.clips = Clips(store.folder, labels or store.folder / "labels", cache, side)
        by_name = {store.clip(record).name: record for record in records}
        self.records = {
            number: by_name[name]
            for number, name in enumerate(self.clips.names)
            if name in by_name and self.clips.labels[number].frame[0] == 0
        }
        self.num_unusable = len(by_name) - len(self.records)  # no face found by the labeller
        if not self.records:
            raise InputError(
                f"{store.folder}: want labels of these pairs' clips, photo included;"
                f" run: pocketportrait label {store.folder}"
            )
        self._numbers = list(self.records)
        drivers = {store.driver(one): np.arange(one.frames) for one in self.records.values()}
        self._drivers = cached_frames(list(drivers.items()), cache, side)
        ends = np.cumsum([0, *map(len, drivers.values())])
        begins = dict(zip(drivers, ends, strict=False))
        self._begin = {n: int(begins[store.driver(one)]) for n, one in self.records.items()}
        self._codes = _standard_codes(store, self.records)

    @property
    def code_size(self) -> int:
        """How many numbers a code of the teacher has; 0 where it has no codes."""
        return next(iter(self._codes.values())).shape[1] if self._codes else 0

    def draw(
        self, count: int, seed: int, step: int, *, share: slice = slice(None)
    ) -> dict[str, Tensor]:
        """Return the `share` of the `count` samples of this step, on the CPU.

        Returns:
            photo, target (the teacher's picture), driver and neutral [B, 3, S, S], RGB 0..1;
            photo_points and target_points [B, 478, 2]; pose [2B, 6], blendshapes [2B, 52], shape
            [2B, 956] and has_shape [2B], of photos and then of targets; code [B, K] in standard
            deviations of the pairs, and has_code [B], 0 where a sample is mirrored.

        """
        rng = np.random.default_rng([seed, step])
        picks = [self._pick(rng, place) for place in range(count)][share]
        pairs = self.clips.collect([(pick.clip, 0, pick.row, pick.mirror) for pick in picks])
        batch = _labelled(pairs)
        frame = [int(self.clips.labels[pick.clip].frame[pick.row]) - 1 for pick in picks]
        neutral = [0] * len(picks)
        for name, salt, indices in (("driver", 0, frame), ("neutral", 1, neutral)):
            images = to_pictures(np.stack(list(map(self._driver, picks, indices))))
            coloured = [
                _coloured(image, _salted(seed, step, pick.place, salt))
                for image, pick in zip(torch.split(images, 1), picks, strict=True)
            ]
            batch[name] = torch.cat(coloured)
        if self._codes:
            codes = [self._codes[pick.clip][k] for pick, k in zip(picks, frame, strict=True)]
            batch["code"] = torch.from_numpy(np.stack(codes))
            batch["has_code"] = batch["has_shape"][: len(picks)]
        return batch

    def _pick(self, rng: np.random.Generator, place: int) -> Pick:
        clip = self._numbers[int(rng.integers(len(self._numbers)))]
        mirror, seek = bool(rng.random() < 0.5), bool(rng.random() < SEEK)
        made = self.clips.labels[clip].blendshapes[1:]
        row = int(rng.choice(strongest(made, rng))) if seek else int(rng.integers(len(made)))
        return Pick(clip, row + 1, mirror, place)

    def _driver(self, pick: Pick, index: int) -> Array:
        image: Array = self._drivers[self._begin[pick.clip] + index]
        return image[:, ::-1] if pick.mirror else image


def own_batch(pairs: Pairs, seed: int, step: int, places: Sequence[int]) -> dict[str, Tensor]:
    """Return pairs of frames of one clip each as a teacher's: one that was right about all of them.

    The driver is the target itself and the neutral frame is the photo, so that `relative` and
    `absolute` say the same. There is no code.

    Args:
        pairs: drawn from clips.
        seed: of the run.
        step: of the run.
        places: of the pairs, in the batch of all processes.

    """
    batch = _labelled(pairs)
    driver = [
        _coloured(image, _salted(seed, step, spot))
        for spot, image in zip(places, torch.split(batch["target"], 1), strict=True)
    ]
    return batch | {"driver": torch.cat(driver), "neutral": batch["photo"]}


def joined(batch: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a teacher's batch, and behind it one of `own_batch`; codes that it lacks count nothing."""
    found = {name: torch.cat([batch[name], value]) for name, value in own.items()}
    for name in OF_BOTH:
        halves = zip(batch[name].chunk(2), own[name].chunk(2), strict=True)
        found[name] = torch.cat([torch.cat(half) for half in halves])
    for name in ("code", "has_code"):
        if name in batch:
            none = batch[name].new_zeros(len(own["photo"]), *batch[name].shape[1:])
            found[name] = torch.cat([batch[name], none])
    return found


def moved_targets(
    batch: dict[str, Tensor], seed: int, step: int, places: Sequence[int]
) -> dict[str, Tensor]:
    """Return `target_moved` [B, 3, S, S] and its `place`, as in `to_batch`: other place, size and colours."""
    moved, spots = [], []
    for spot, image in zip(places, torch.split(batch["target"], 1), strict=True):
        rng = torch.Generator().manual_seed(_salted(seed, step, spot, 2))
        spots.append(draw_place(1, rng))
        moved.append(place(jitter_colour(image, rng), spots[-1]))
    return {"target_moved": torch.cat(moved), "place": torch.cat(spots)}


def _salted(seed: int, step: int, spot: int, salt: int = 0) -> int:
    """Return what seeds one change of one sample of a batch, whichever process draws it."""
    return (seed << 40) + step * 4096 + spot * 4 + salt


def _labelled(pairs: Pairs) -> dict[str, Tensor]:
    """Return photos, targets and their labels as tensors."""
    batch = {name: torch.from_numpy(getattr(pairs, name)) for name in LABELS}
    return batch | {"photo": to_pictures(pairs.photo), "target": to_pictures(pairs.target)}


def _coloured(picture_13HW: Tensor, seed: int) -> Tensor:
    """Change the colours of every other picture: a code must not read them."""
    rng = torch.Generator().manual_seed(seed)
    changed = bool(torch.rand((), generator=rng) < 0.5)
    return jitter_colour(picture_13HW, rng) if changed else picture_13HW


def _standard_codes(store: PairStore, records: dict[int, PairRecord]) -> dict[int, Array]:
    """Return the codes of each clip's driver, centred and in standard deviations over all."""
    files = {number: store.codes(record) for number, record in records.items()}
    codes = {number: load_file(file)["codes"] for number, file in files.items() if file is not None}
    if not codes:
        return {}
    everything = np.concatenate(list(codes.values()))
    mean, deviation = everything.mean(0), everything.std(0)
    # a number that never changes has nothing to teach
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    return {n: ((value - mean) * scale).astype(np.float32) for n, value in codes.items()}
