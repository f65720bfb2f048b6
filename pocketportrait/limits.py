"""How much a file from a stranger may ask for; checked before memory is taken.

The limits of a process, and of those it starts, stand in the environment variable
`POCKETPORTRAIT_LIMITS`, where the option `--limit` puts them: `photo_pixels=200000000 video_frames=9`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path

from pocketportrait.errors import InputError

VARIABLE = "POCKETPORTRAIT_LIMITS"


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The most that is taken in; each number is inclusive."""

    photo_pixels: int = 120_000_000  # 360 MB as RGB; phones make up to 200 but save 12 to 50
    photo_bytes: int = 2**29
    frame_pixels: int = 36_000_000  # 8K and a little; one such frame is 108 MB
    video_frames: int = 1_000_000
    video_seconds: int = 6 * 3600
    video_bytes: int = 64 * 2**30
    decoder_bytes: int = 4 * 2**30  # memory of the process that decodes one file
    decoder_seconds: int = 60  # from one picture to the next
    archive_files: int = 5_000
    archive_bytes: int = 2 * 2**30  # all files unpacked
    archive_ratio: int = 200  # unpacked to packed; weights pack to about half
    document_bytes: int = 64 * 2**20  # a manifest, recipe, record or report
    model_bytes: int = 2 * 2**30  # one file of a model
    model_tensors: int = 100_000  # stored in one file, or nodes of it
    tensor_elements: int = 2**28  # of one input or output: 1 GiB of float32

    def check(self, name: str, got: float, what: object, unit: str = "") -> None:
        """Refuse more than a limit.

        Args:
            name: of the limit.
            got: what was asked for.
            what: the file, for the message.
            unit: the words of the message for what is counted; the limit's name by default.

        Raises:
            InputError: it is more; the message names the option that raises the limit.

        """
        if got > (limit := getattr(self, name)):
            words = unit or name.replace("_", " ")
            shown = f"{got:.0f}" if got < 1e18 else "far more"
            raise InputError(
                f"{what}: want at most {limit} {words}, got {shown};"
                f" if you trust it: pocketportrait --limit {name}=N ..."
            )

    def check_file(self, name: str, path: Path) -> None:
        """Refuse a file of more bytes than a limit; one that is missing is left to its reader.

        Raises:
            InputError: it is larger.

        """
        if path.is_file():
            self.check(name, path.stat().st_size, path, "bytes")


NAMES = tuple(field.name for field in dataclasses.fields(Limits))


def current() -> Limits:
    """Return this process's limits.

    Raises:
        InputError: `POCKETPORTRAIT_LIMITS` cannot be read.

    """
    return _parsed(os.environ.get(VARIABLE, ""))


def change(settings: Iterable[str]) -> None:
    """Set limits for this process and those it will start, beside what is set already.

    Args:
        settings: `NAME=NUMBER`, each a name of `Limits`.

    Raises:
        InputError: one is unknown or no whole number above 0.

    """
    text = " ".join([*os.environ.get(VARIABLE, "").split(), *settings])
    _parsed(text)
    if text:
        os.environ[VARIABLE] = text


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Limits:
    found: dict[str, int] = {}
    for setting in text.split():
        name, _, number = setting.partition("=")
        if name not in NAMES or not number.isdecimal() or not 0 < int(number) < 2**62:
            raise InputError(
                f"--limit: want NAME=NUMBER with a name of {', '.join(NAMES)}, got {setting!r}"
            )
        found[name] = int(number)
    return Limits(**found)
