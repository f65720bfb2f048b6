"""The photos and driving clips that ship with the package; `SAMPLES.json` says whose they are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pocketportrait.errors import InputError


def samples_folder() -> Path:
    """Return the folder of the shipped samples."""
    return Path(str(resources.files("pocketportrait") / "assets" / "samples"))


def sample_photos() -> tuple[Path, ...]:
    """Return the sample photos, framed as the student wants them."""
    return _found("photo_*.jpg")


def sample_drivers() -> tuple[Path, ...]:
    """Return the sample driving clips, cropped and ready."""
    return _found("driving_*.mp4")


def _found(pattern: str) -> tuple[Path, ...]:
    files = tuple(sorted(samples_folder().glob(pattern)))
    if not files:
        raise InputError(
            f"{samples_folder()}: want the shipped samples, got no {pattern}; install the package again"
        )
    return files
