"""The page for a person: a photo, a camera or clip, and the photo doing what the driver does, live."""

from __future__ import annotations

from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.errors import InputError
from pocketportrait.media.samples import sample_drivers, sample_photos, samples_folder
from pocketportrait.runtime.targets.record import Backend
from pocketportrait.runtime.web.server import LocalServer
from pocketportrait.runtime.web.vendor import vendor_folder

FORMATS = ("onnx", "tflite")  # that a browser has an engine for
PREFERRED_PRECISION = "fp32"


def portrait_page(
    bundle: Bundle,
    *,
    format: str | None = None,
    precision: str | None = None,
    backend: Backend = "wasm",
    threads: int | None = None,
    port: int = 0,
    home: Path | None = None,
) -> LocalServer:
    """Return a server of the page over one variant of a bundle; entering it starts to listen.

    Args:
        bundle: an open bundle.
        format: onnx or tflite; None takes the first that the bundle has.
        precision: None takes fp32 where the bundle has it, else its first.
        backend: what computes.
        threads: None lets the page choose.
        port: 0 takes a free one.
        home: where the engines were installed; by default in the user's cache.

    Raises:
        InputError: the bundle has no such variant, no browser runs the format, or the port is taken.
        MissingToolError: the engines were not installed.

    """
    held = bundle.manifest.variants
    format = format or next((name for name in FORMATS if held.get(name)), FORMATS[0])
    if format not in FORMATS:
        raise InputError(f"format: want one of {', '.join(FORMATS)}, got {format!r}")
    if precision is None:
        there = list(held.get(format, {}))
        precision = PREFERRED_PRECISION if PREFERRED_PRECISION in there else "".join(there[:1])
    bundle.variant(format, precision)
    vendor = vendor_folder(home)
    config = {
        "format": format,
        "precision": precision,
        "backend": backend,
        "threads": threads,
        "photos": [f"/samples/{photo.name}" for photo in sample_photos()],
        "drivers": [f"/samples/{driver.name}" for driver in sample_drivers()],
    }
    return LocalServer(
        {"vendor": vendor, "bundle": bundle.root, "samples": samples_folder()},
        documents={"config.json": config},
        port=port,
    )
