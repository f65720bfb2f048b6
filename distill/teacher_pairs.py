"""Pairs that a teacher has rendered, once and for all: found again by content, never by name.

    FOLDER/clips/KEY.mp4        the photo, then what the teacher made of it: a clip of one person
    FOLDER/drivers/HASH.mp4     the driving frames
    FOLDER/codes/HASH.safetensors   the teacher's codes of the driving frames, where it has any
    FOLDER/records/KEY.json     written last: a pair without it is rendered again

Clips are lossless RGB, every frame as the teacher gave it. KEY is a hash of the photo's pixels, the
driving frames' pixels, the kind of teacher and its fingerprint (weights and options). The folder is
one that `pocketportrait label` understands.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from pocketportrait import atomic
from pocketportrait.contract import Array
from pocketportrait.distill.teacher_jobs import Job
from pocketportrait.errors import InputError
from pocketportrait.media.video_writer import VideoWriter
from pocketportrait.models.teachers.protocol import SIDE_PX, EncodingTeacher, Teacher
from pocketportrait.models.teachers.recorded import picture_hash

RATE_HZ = 10  # of the clips: `pocketportrait label` labels every frame of them by default
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One rendered pair, as its record has it."""

    key: str
    name: str  # photo and driver, for people
    teacher: str  # kind
    fingerprint: str
    photo_sha256: str  # of the pixels
    driver_sha256: str  # of the pixels of all frames
    frames: int  # of the driver; the clip has one more
    codes: str  # name of the file of codes, or "" where the teacher has none
    schema_version: int = SCHEMA_VERSION


class PairStore:
    """A folder of rendered pairs; several processes and machines may fill it at once."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is made yet."""
        self.folder = folder

    def clip(self, record: PairRecord) -> Path:
        """Return the file with the photo and the teacher's pictures."""
        return self.folder / "clips" / f"{record.key}.mp4"

    def driver(self, record: PairRecord) -> Path:
        """Return the file with the driving frames."""
        return self.folder / "drivers" / f"{record.driver_sha256}.mp4"

    def codes(self, record: PairRecord) -> Path | None:
        """Return the file with the teacher's codes of the driving frames, if there is one."""
        return self.folder / "codes" / record.codes if record.codes else None

    def find(self, key: str) -> PairRecord | None:
        """Return the record of a pair that is there whole.

        Raises:
            InputError: a record of another version, or one whose files are gone.

        """
        path = self.folder / "records" / f"{key}.json"
        if not path.is_file():
            return None
        try:
            record = PairRecord(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}: want a record of version {SCHEMA_VERSION}, got another ({error}); remove it"
            ) from error
        for file in (self.clip(record), self.driver(record), self.codes(record)):
            if file is not None and not file.is_file():
                raise InputError(f"{path}: want {file}, got no such file; remove the record too")
        return record

    def write(self, record: PairRecord, clip: Iterator[Array], driver: Array) -> None:
        """Store a pair; a kill at any moment leaves a whole pair or none.

        Raises:
            InputError: the folder cannot be written to.

        """
        self._write_clip(self.clip(record), clip)
        if not self.driver(record).is_file():
            self._write_clip(self.driver(record), iter(driver))
        text = json.dumps(asdict(record), indent=1) + "\n"
        atomic.write_bytes(self.folder / "records" / f"{record.key}.json", text.encode())

    def _write_clip(self, path: Path, pictures: Iterator[Array]) -> None:
        # in a folder of its own: `label` must not meet what a killed process left half written
        half = self.folder / "unfinished" / f"{uuid.uuid4().hex}.mp4"
        size, rate = (SIDE_PX, SIDE_PX), Fraction(RATE_HZ)
        with VideoWriter(half, size, rate=rate, lossless=True, threads=1) as writer:
            for picture in pictures:
                writer.write(picture)
        path.parent.mkdir(parents=True, exist_ok=True)
        half.replace(path)


def render_pairs(
    store: PairStore,
    teacher: Teacher,
    kind: str,
    jobs: Sequence[Job],
    on_pair: Callable[[int, bool], None] = lambda number, rendered: None,
) -> list[PairRecord]:
    """Render the pairs that are not in the store yet; return the records of all `jobs`.

    Args:
        store: where pairs are kept.
        teacher: who renders.
        kind: the teacher's kind, part of the key.
        jobs: what is rendered.
        on_pair: told how many of `jobs` are there, and whether the last was rendered now.

    Raises:
        InputError: the teacher gave another number of pictures than the driver has frames.

    """
    records = []
    for number, job in enumerate(jobs, 1):
        record, photo, driver = _describe(job, teacher, kind)
        known = store.find(record.key)
        if known is None:
            if isinstance(teacher, EncodingTeacher):
                _write_codes(store, record, teacher, driver)
            store.write(record, _performed(teacher, job, photo, driver), driver)
        records.append(known or record)
        on_pair(number, known is None)
    return records


def find_pairs(
    store: PairStore, teacher: Teacher, kind: str, jobs: Sequence[Job]
) -> list[PairRecord]:
    """Return the records of `jobs` that are in the store, each pair once."""
    keys = dict.fromkeys(_describe(job, teacher, kind)[0].key for job in jobs)
    return [record for key in keys if (record := store.find(key)) is not None]


def shard_of(text: str) -> slice:
    """Read "k/n", k from 1 to n, as the slice of a list that one of n processes does.

    Raises:
        InputError: another form.

    """
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise InputError(f"shard: want k/n with k from 1 to n, got {text!r}; write 1/2 and 2/2")
    return slice(int(k) - 1, None, int(n))


def _describe(job: Job, teacher: Teacher, kind: str) -> tuple[PairRecord, Array, Array]:
    photo, driver = job.photo(), job.driver()
    photo_hash = picture_hash(photo).hex()
    driver_hash = hashlib.sha256(b"".join(map(picture_hash, driver))).hexdigest()
    made_by = json.dumps([SCHEMA_VERSION, kind, teacher.fingerprint])
    key = hashlib.sha256(f"{made_by} {photo_hash} {driver_hash}".encode()).hexdigest()[:32]
    codes = ""
    if isinstance(teacher, EncodingTeacher):
        codes = (
            hashlib.sha256(f"{made_by} {driver_hash}".encode()).hexdigest()[:32] + ".safetensors"
        )
    record = PairRecord(
        key, job.name, kind, teacher.fingerprint, photo_hash, driver_hash, len(driver), codes
    )
    return record, photo, driver


def _performed(teacher: Teacher, job: Job, photo: Array, driver: Array) -> Iterator[Array]:
    """Yield the photo and the teacher's pictures, as they come."""
    yield photo
    got = 0
    for picture in teacher.animate(photo, driver):
        got += 1
        yield picture
    if got != len(driver):
        raise InputError(
            f"{job.name}: want {len(driver)} pictures, one a driving frame, got {got};"
            " check the teacher with: pocketportrait teacher check"
        )


def _write_codes(
    store: PairStore, record: PairRecord, teacher: EncodingTeacher, driver: Array
) -> None:
    path = store.folder / "codes" / record.codes
    if not path.is_file():
        codes = np.asarray(teacher.encode(driver), np.float32)
        if len(codes) != len(driver) or codes.ndim != 2:
            raise InputError(
                f"{record.name}: want codes [{len(driver)}, K], got {list(codes.shape)};"
                " check the teacher with: pocketportrait teacher check"
            )
        atomic.write_bytes(path, save({"codes": codes}))
