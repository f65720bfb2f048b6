"""The IPTC digital source type in a file's XMP, for readers that know no Content Credentials.

XMP stands in an APP1 segment of JPEG, an iTXt chunk of PNG and a `uuid` box of MP4 and QuickTime (XMP
Specification Part 3, sections 1.1.3, 1.1.5 and 1.1.7).
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from pocketportrait import atomic

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
MOVIES = (".mp4", ".m4v", ".mov")
JPEGS = (".jpg", ".jpeg")
_JPEG_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_KEYWORD = b"XML:com.adobe.xmp"
_MOVIE_ID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_FOUND = re.compile(rb"DigitalSourceType>\s*([^<\s]{1,200})\s*<")
_READ_BYTES = 1 << 20  # at a time; a film need not fit in memory


def write_source_type(path: Path) -> bool:
    """Add the digital source type to a file; False where its format has no place for it.

    Raises:
        InputError: the file cannot be written to.

    """
    suffix = path.suffix.lower()
    if suffix in MOVIES:
        box = _MOVIE_ID + _packet()
        with atomic.replacing(path) as temporary:
            _copy(path, temporary, struct.pack(">I", len(box) + 8) + b"uuid" + box)
        return True
    if suffix not in (*JPEGS, ".png"):
        return False
    data = path.read_bytes()
    if suffix == ".png":
        # signature and header are 33 bytes, always
        text = _PNG_KEYWORD + b"\0\0\0\0\0" + _packet()
        chunk = struct.pack(">I", len(text)) + b"iTXt" + text
        chunk += struct.pack(">I", zlib.crc32(b"iTXt" + text))
        atomic.write_bytes(path, data[:33] + chunk + data[33:])
    else:
        segment = _JPEG_HEAD + _packet()
        head = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
        # after JFIF's own segment, which has to come first
        start = 4 + struct.unpack(">H", data[4:6])[0] if data[2:4] == b"\xff\xe0" else 2
        atomic.write_bytes(path, data[:start] + head + data[start:])
    return True


def read_source_type(path: Path) -> str | None:
    """Return the last word of the digital source type that a file states, wherever it does."""
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            if match := _FOUND.search(tail + block):
                return match.group(1).decode("utf-8", "replace").rpartition("/")[2]
            tail = block[-300:]
    return None


def _copy(source: Path, target: Path, end: bytes) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(_READ_BYTES):
            new.write(block)
        new.write(end)


def _packet() -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
