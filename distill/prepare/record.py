"""What is known of each video that was worked through: one file each, written whole when it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pocketportrait import atomic
from pocketportrait.distill.prepare.settings import Rights

SCHEMA_VERSION = 1


class Rejection(BaseModel):
    """A shot, a part of one or a whole video that gives no clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    start_s: float
    stop_s: float
    reason: str  # a short name; reports count by it
    measure: str  # what `figure` and `limit` are
    figure: float | None = None  # None where nothing could be measured
    limit: float | None = None
    note: str = ""


class ClipRecord(BaseModel):
    """One clip that passed every filter of its own; others may still make it superfluous."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # of the file, without suffix
    shot: int
    sha256: str
    bytes: int
    start_frame: int  # in the source
    start_s: float
    frames: int
    fps: float
    sec: float
    crop: tuple[float, float, float]  # x, y, side in source pixels
    face_px: float
    scale: float  # crop side / face side
    box: tuple[float, float, float, float]  # the face in 0..1 of the crop
    seen: float
    sharpness: float
    motion: float
    strokes: float
    likeness: str
    embedding: tuple[float, ...] | None = None


class VideoRecord(BaseModel):
    """One video: its clips and what was rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    source: str  # the path as it was given
    sha256: str
    bytes: int
    rights: Rights
    size: tuple[int, int] | None = None  # None where nothing can be read
    damage: str | None = None
    clips: tuple[ClipRecord, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    @property
    def key(self) -> str:
        """The name of its record: the head of its sha256."""
        return self.sha256[:16]


class Records:
    """The workshop inside the output folder: records of videos, and clips before they are divided."""

    def __init__(self, data: Path) -> None:
        self.folder = data / ".prepare"
        self.settings = self.folder / "settings.json"
        self._videos = self.folder / "videos"
        self._clips = self.folder / "clips"

    def clip(self, name: str) -> Path:
        """Return the place of a clip."""
        return self._clips / f"{name}.mp4"

    def write(self, record: VideoRecord) -> None:
        """Keep a record; its clips are in their places already."""
        text = record.model_dump_json(indent=1) + "\n"
        atomic.write_bytes(self._videos / f"{record.key}.json", text.encode())

    def read(self, key: str) -> VideoRecord | None:
        """Return the record of a video, or None where it or one of its clips is missing or broken."""
        try:
            text = (self._videos / f"{key}.json").read_bytes()
            record = VideoRecord.model_validate_json(text)
        except (OSError, ValidationError):
            return None
        if record.schema_version != SCHEMA_VERSION or not all(map(self._is_whole, record.clips)):
            return None
        return record

    def video_keys(self) -> list[str]:
        """Return the keys of all videos that have a record, sorted."""
        return sorted(path.stem for path in self._videos.glob("*.json"))

    def fingerprint(self, records: Iterable[VideoRecord]) -> str:
        """Return the sha256 of what the training data is made from."""
        digest = hashlib.sha256(self.settings.read_bytes())
        for record in records:
            digest.update(record.model_dump_json().encode())
        return digest.hexdigest()

    def _is_whole(self, clip: ClipRecord) -> bool:
        path = self.clip(clip.name)
        return (
            path.is_file()
            and path.stat().st_size == clip.bytes
            and file_sha256(path) == clip.sha256
        )


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
