"""Native libraries as devices with pages of 16 KB load them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

PAGE_BYTES = 16384
LOAD = 1  # the type of a segment that is mapped into memory
HEAD_BYTES = 64
ELF64_LITTLE = b"\x7fELF\x02\x01"


def page_complaints(libraries: Sequence[Path]) -> list[str]:
    """Return the libraries that such a device refuses; want some, and every mapped segment aligned."""
    found = [] if libraries else ["want native libraries, got none"]
    for library in libraries:
        try:
            alignments = load_alignments(library)
        except (ValueError, struct.error) as error:
            found.append(f"{library.name}: {error}")
            continue
        if not alignments or any(alignment % PAGE_BYTES for alignment in alignments):
            found.append(f"{library.name}: want LOAD segments at 16384, got {alignments}")
    return found


def load_alignments(library: Path) -> list[int]:
    """Return the alignment of every mapped segment, in bytes.

    Raises:
        ValueError: no 64-bit ELF file, or one that was cut off.

    """
    with library.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head.startswith(ELF64_LITTLE) or len(head) < HEAD_BYTES:
            raise ValueError("want a 64-bit ELF file, got another one")
        (start,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
    if len(table) < size * count:
        raise ValueError("want its table of segments, got a file that was cut off")
    segments = [struct.unpack_from("<I44xQ", table, n * size) for n in range(count)]
    return [alignment for kind, alignment in segments if kind == LOAD]
