"""Consent to animate a photo: asked once, kept beside the photo, bound to its bytes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.media.credentials import sha256_of
from pocketportrait.media.photo import require_file
from pocketportrait.media.samples import samples_folder

SUFFIX = ".consent.json"
SCHEMA_VERSION = 1
LONGEST_CHARACTERS = 500


def sidecar_of(photo: Path) -> Path:
    """Return where a photo's consent is kept."""
    return photo.with_name(photo.name + SUFFIX)


def is_sample(photo: Path) -> bool:
    """Return whether a photo lies among the shipped samples, whose consent is in `SAMPLES.json`."""
    return photo.resolve().parent == samples_folder().resolve()


def recorded_consent(photo: Path) -> str | None:
    """Return the consent that was recorded for exactly these bytes, if there is one.

    Shipped samples have theirs in `SAMPLES.json`. A sidecar of another photo of the same name, or one
    that cannot be read, is none.

    Raises:
        InputError: no such photo.

    """
    require_file(photo, "photo")
    digest = sha256_of(photo)
    samples = json.loads((samples_folder() / "SAMPLES.json").read_text())
    for sample in samples:
        if sample["sha256"] == digest and "consent" in sample:
            return str(sample["consent"])
    try:
        record = json.loads(sidecar_of(photo).read_text())
        same = record["schema_version"] == SCHEMA_VERSION and record["photo_sha256"] == digest
        return str(record["consent"]) if same else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def record_consent(photo: Path, consent: str) -> Path:
    """Write who consents to what beside the photo; returns the sidecar.

    Raises:
        InputError: nothing was said, too much was, or the place cannot be written to.

    """
    said = checked_consent(consent)
    record = {
        "schema_version": SCHEMA_VERSION,
        "photo_sha256": sha256_of(photo),
        "consent": said,
        "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    path = sidecar_of(photo)
    atomic.write_bytes(path, json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")
    return path


def checked_consent(consent: str) -> str:
    """Return the words without blanks around them.

    Raises:
        InputError: there are none, or more than 500 characters.

    """
    said = consent.strip()
    if not 0 < len(said) <= LONGEST_CHARACTERS:
        raise InputError(
            f"consent: want 1 to {LONGEST_CHARACTERS} characters that say who agreed to what,"
            f" got {len(said)}"
        )
    return said
