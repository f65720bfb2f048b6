"""A folder of recordings is a teacher: photo, driver, and what some system made of the two.

    FOLDER/triples.json
    {
      "schema_version": 1,
      "system": "the system that made the outputs, with its version",
      "licence": "what may be done with the outputs",
      "triples": [
        {"photo": "photos/a.png", "driver": "drivers/b.mp4", "output": "outputs/a-b.mp4",
         "photo_crop": [120, 40, 640], "driver_crop": [0, 0, 720], "output_crop": [60, 20, 320]}
      ]
    }

Paths are relative to the folder. A crop is [x, y, side] in pixels of its own file; without one the
file must be square. Output and driver have the same number of frames. Pictures are found again by
the content of their 256-pixel crops, never by their names.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import SquareCrop, cut
from pocketportrait.media.photo import read_photo, require_file
from pocketportrait.media.video import VideoReader
from pocketportrait.models.teachers.protocol import SIDE_PX, check_picture

MANIFEST = "triples.json"

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Crop = tuple[Coordinate, Coordinate, Side]


class Triple(BaseModel):
    """One recording, as the manifest writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    photo: str
    driver: str
    output: str
    photo_crop: Crop | None = None
    driver_crop: Crop | None = None
    output_crop: Crop | None = None


class TripleManifest(BaseModel):
    """`triples.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1]
    system: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    triples: tuple[Triple, ...] = Field(min_length=1)


class Recording:
    """One photo, one driver, one output; read again whenever it is asked for."""

    def __init__(self, folder: Path, triple: Triple) -> None:
        """Find the files.

        Raises:
            InputError: a path leaves the folder, or a file is missing or empty.

        """
        self.triple = triple
        self._photo, self._driver, self._output = (
            _confined(folder, name) for name in (triple.photo, triple.driver, triple.output)
        )

    def __repr__(self) -> str:
        return f"{self.triple.output} of {self.triple.photo} and {self.triple.driver}"

    def photo(self) -> Array:
        """Return the photo, uint8 [256, 256, 3]."""
        return _square(read_photo(self._photo), self.triple.photo_crop, self._photo)

    def driver(self) -> Iterator[Array]:
        """Yield the driving frames, uint8 [256, 256, 3]."""
        return _frames(self._driver, self.triple.driver_crop)

    def output(self) -> Iterator[Array]:
        """Yield the system's pictures, uint8 [256, 256, 3]."""
        return _frames(self._output, self.triple.output_crop)

    def files(self) -> tuple[Path, Path, Path]:
        """Return photo, driver and output."""
        return self._photo, self._driver, self._output

    @functools.cached_property
    def photo_hash(self) -> bytes:
        """What the photo's content is found by."""
        return picture_hash(self.photo())

    @functools.cached_property
    def driver_hashes(self) -> tuple[bytes, ...]:
        """What the driving frames' content is found by, in order."""
        return tuple(picture_hash(frame) for frame in self.driver())

    def check(self) -> int:
        """Decode all of it and return the number of frames.

        Raises:
            InputError: a file cannot be decoded, or driver and output have unequal frames.

        """
        self.photo()
        want, got = len(self.driver_hashes), sum(1 for _ in self.output())
        if want != got:
            raise InputError(
                f"{self._output}: want {want} frames, as many as its driver, got {got};"
                " cut or re-time one of them"
            )
        return got


class RecordedTeacher:
    """A `Teacher` that knows the pairs it was given, and no others."""

    def __init__(self, manifest: TripleManifest, recordings: tuple[Recording, ...]) -> None:
        """Take what `open` read."""
        self.manifest = manifest
        self.recordings = recordings

    @classmethod
    def open(cls, folder: Path) -> RecordedTeacher:
        """Read the manifest and find the files; pictures are decoded when they are needed.

        Raises:
            InputError: no manifest, a manifest of another form, or files that are not there.

        """
        path = folder / MANIFEST
        require_file(path, "manifest")
        try:
            manifest = TripleManifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise InputError(
                f"{path}: want the form that docs/teachers.md describes, got at {place}:"
                f" {first['msg']}; mend that line"
            ) from error
        return cls(manifest, tuple(Recording(folder, triple) for triple in manifest.triples))

    @property
    def summary(self) -> str:
        """One line: what was found."""
        photos = len({recording.triple.photo for recording in self.recordings})
        return f"{len(self.recordings)} recordings of {photos} photos by {self.manifest.system}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the manifest and of every file in it."""
        digest = hashlib.sha256(self.manifest.model_dump_json().encode())
        for path in sorted({path for one in self.recordings for path in one.files()}):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield what was recorded for each frame; frames may be left out, but not reordered.

        Args:
            photo: uint8 [256, 256, 3], one of the recordings' photos.
            frames: uint8 [256, 256, 3], frames of one of that photo's drivers.

        Raises:
            InputError: a photo or a frame that was never recorded.

        """
        wanted = picture_hash(check_picture(photo, "photo"))
        candidates = [one for one in self.recordings if one.photo_hash == wanted]
        if not candidates:
            raise InputError(
                f"photo: want one of the recorded photos, got another ({self.summary});"
                " pixels must be those of the recording's own crop"
            )
        recording: Recording | None = None
        output: Iterator[Array] = iter(())
        at = -1
        for index, frame in enumerate(frames):
            key = picture_hash(check_picture(frame, f"frame {index}"))
            if recording is None:
                recording = _with_frame(candidates, key)
                output = recording.output()
            step = _next(recording, key, at + 1, index) - at
            at += step
            yield _advance(output, step, recording)


def picture_hash(picture: Array) -> bytes:
    """Return a hash of a picture's pixels."""
    return hashlib.sha256(picture.tobytes()).digest()


def _with_frame(candidates: list[Recording], key: bytes) -> Recording:
    for recording in candidates:
        if key in recording.driver_hashes:
            return recording
    names = ", ".join(recording.triple.driver for recording in candidates)
    raise InputError(
        f"frame 0: want a frame of a driver that this photo was recorded with ({names}), got another;"
        " pixels must be those of the recording's own crop"
    )


def _next(recording: Recording, key: bytes, start: int, index: int) -> int:
    try:
        return recording.driver_hashes.index(key, start)
    except ValueError as error:
        raise InputError(
            f"frame {index}: want a later frame of {recording.triple.driver}, got another;"
            " frames may be left out, but keep their order"
        ) from error


def _advance(output: Iterator[Array], step: int, recording: Recording) -> Array:
    """Return the `step`-th next picture, 1 being the very next."""
    picture = next(itertools.islice(output, step - 1, None), None)
    if picture is None:
        raise InputError(
            f"{recording.triple.output}: want as many frames as {recording.triple.driver}, got"
            " fewer; cut or re-time one of them"
        )
    return picture


def _frames(path: Path, crop: Crop | None) -> Iterator[Array]:
    for frame in VideoReader(path):
        yield _square(frame.rgb, crop, path)


def _square(picture: Array, crop: Crop | None, path: Path) -> Array:
    height, width = picture.shape[:2]
    if crop is None and height != width:
        raise InputError(
            f"{path}: want a square picture, or a crop in {MANIFEST}, got {width}x{height} without;"
            " add [x, y, side]"
        )
    return cut(picture, SquareCrop(*(crop or (0, 0, width))), SIDE_PX)


def _confined(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    path = folder / parts
    if parts.is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{folder / MANIFEST}: want paths inside the folder, got {name!r}; copy the file there"
        )
    require_file(path, "recording")
    return path
