"""What a picture or video says of its making: the mark in its pixels, and what its file states."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic
from pocketportrait.contract import Array
from pocketportrait.errors import ExitCode, MissingToolError
from pocketportrait.mark import MOST_CHANCE, PUBLIC_KEY, detect
from pocketportrait.media.credentials import read_credentials
from pocketportrait.media.photo import read_photo, require_file
from pocketportrait.media.source_type import read_source_type
from pocketportrait.media.video import VideoReader

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".ppm")
NUM_FRAMES = 12  # more say hardly more: the mark is the same in each
LOOKED_AT_S = 10.0


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MarkFacts(_Fact):
    """What was found in the pixels."""

    found: bool
    confidence: float  # 0..1
    deviations: float  # how far it stands out from chance
    chance: float  # of such a fit anywhere in an unmarked clip, an upper bound
    most_chance: float = MOST_CHANCE  # with which it counts as found
    bundle_id: str | None  # hexadecimal; None where it cannot be read
    tile_px: float
    top_px: float
    left_px: float


class Inspection(_Fact):
    """Everything that one file says of its making."""

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    file: str
    frames: int
    mark: MarkFacts
    credentials: dict[str, Any] | None  # state, signer, origin, problems
    credentials_note: str | None = None  # why they were not looked at
    digital_source_type: str | None

    @property
    def is_ours(self) -> bool:
        """True where the mark or unbroken credentials say so."""
        return self.mark.found or bool(self.credentials and self.credentials["is_ours"])

    @property
    def exit_code(self) -> ExitCode:
        """Done where Pocket Portrait made it and nothing was altered, else a failed gate."""
        altered = self.credentials is not None and self.credentials["state"] == "Invalid"
        return ExitCode.DONE if self.is_ours and not altered else ExitCode.GATE_FAILED

    def lines(self) -> list[str]:
        """Return what was found, one line a fact."""
        mark = self.mark
        if mark.found:
            whose = f"bundle {mark.bundle_id}" if mark.bundle_id else "bundle id unreadable"
            said = f"made by Pocket Portrait, {whose}, confidence {_percent(mark.confidence)}"
        else:
            said = "no mark of Pocket Portrait found"
        chance = f"{mark.chance:.0e}" if mark.chance > 0 else "below 1e-300"
        lines = [f"{said} (mark: {mark.deviations:.1f} deviations, by chance {chance})"]
        if self.credentials is not None:
            by = self.credentials["signed_by"] or "nobody named"
            problems = ", ".join(self.credentials["problems"])
            state = self.credentials["state"].lower()
            lines.append(f"content credentials: {state}, signed by {by} {problems}".rstrip())
        else:
            lines.append(f"content credentials: {self.credentials_note or 'none'}")
        lines.append(f"digital source type: {self.digital_source_type or 'not stated'}")
        return lines

    def to_json(self, path: Path) -> None:
        """Write the report atomically."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")


def inspect_file(path: Path, key: bytes = PUBLIC_KEY) -> Inspection:
    """Look at a picture or video, without the original.

    Args:
        path: any picture or video that `animate` could read.
        key: the public one, or the private one that was given at export.

    Raises:
        InputError: the file cannot be read as a picture or video.

    """
    require_file(path, "picture or video")
    frames = _frames(path)
    found = detect(frames, key)
    credentials, note = None, None
    try:
        read = read_credentials(path)
        credentials = None if read is None else {**asdict(read), "is_ours": read.is_ours}
    except MissingToolError as error:
        note = f"not looked at: {error}"
    return Inspection(
        file=str(path),
        frames=len(frames),
        mark=MarkFacts(
            found=found.found,
            confidence=found.confidence,
            deviations=round(found.deviations, 2),
            chance=found.chance,
            bundle_id=None if found.bundle_id is None else f"{found.bundle_id:016x}",
            tile_px=round(found.tile_px, 1),
            top_px=round(found.top_px, 1),
            left_px=round(found.left_px, 1),
        ),
        credentials=credentials,
        credentials_note=note,
        digital_source_type=read_source_type(path),
    )


def _frames(path: Path) -> list[Array]:
    """Return one picture, or a dozen frames spread over the first seconds."""
    if path.suffix.lower() in PICTURES:
        return [read_photo(path)]
    reader = VideoReader(path)
    span = max(1, int(LOOKED_AT_S * reader.facts.rate))
    count = min(reader.facts.num_frames or span, span)
    frames = []
    for frame in reader.frames(every=max(1, count // NUM_FRAMES)):
        frames.append(frame.rgb)
        if len(frames) == NUM_FRAMES:
            break
    return frames


def _percent(confidence: float) -> str:
    return "> 99.9999 %" if confidence > 0.999999 else f"{100 * confidence:.4f} %"
