"""Model files from strangers, looked at before an engine or a library sees them.

Sizes and counts are limited, and no file may name another one outside of itself: ONNX and Core ML can.
"""

from __future__ import annotations

import functools
import json
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from pocketportrait import limits
from pocketportrait.bundle.manifest import PACKAGE, relative_path
from pocketportrait.bundle.tflite_intake import check_tflite
from pocketportrait.errors import InputError

# Field numbers of onnx.proto, by message: where tensors may stand, and what leads to them.
MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING = range(8)
CHILDREN = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    TENSOR: {},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
}
COUNTED = (NODE, TENSOR)
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of a tensor
MOST_DEPTH = 64
MODEL_SUFFIXES = (".onnx", ".tflite", PACKAGE)
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def check_model(path: Path) -> Path:
    """Look at a model file or `.mlpackage` folder; return its path.

    Raises:
        InputError: missing, damaged, above the limits, or it names files outside of itself.

    """
    if path.suffix == PACKAGE:
        _check_package(path)
    else:
        if not path.is_file():
            raise InputError(f"{path}: want an {path.suffix} file, got nothing there")
        facts = path.stat()
        _check_file(path, facts.st_mtime_ns, facts.st_size, limits.current())
    return path


@functools.lru_cache(maxsize=64)
def _check_file(path: Path, changed_ns: int, size: int, most: limits.Limits) -> None:
    """Look at one file; the same one, unchanged, is not looked at twice."""
    most.check("model_bytes", size, path, "bytes")
    if path.suffix not in CHECKS:
        return
    kind, check = CHECKS[path.suffix]
    if size == 0:
        raise InputError(f"{path}: want {kind} model, got an empty file; copy it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            check(path, data, most)
        except InputError:  # is a ValueError, too, and says what is wrong
            raise
        except (ValueError, struct.error, IndexError) as error:
            raise InputError(
                f"{path}: want {kind} model, got another or a damaged file ({error})"
            ) from error


def _check_onnx(path: Path, data: mmap.mmap, most: limits.Limits) -> None:
    count = 0
    waiting = [(MODEL, 0, len(data), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise InputError(f"{path}: want graphs at most {MOST_DEPTH} deep, got more")
        if kind in COUNTED:
            count += 1
            most.check("model_tensors", count, path, "nodes and tensors")
        for field, wire, value, stop in _fields(data, start, end):
            if wire == LENGTH and field in CHILDREN[kind]:
                waiting.append((CHILDREN[kind][field], value, stop, depth + 1))
            elif kind == TENSOR and (
                field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)
            ):
                raise InputError(
                    f"{path}: want a file that holds its own numbers, got one whose"
                    " tensors name other files (external data); save it as one file"
                )


CHECKS = {".onnx": ("an ONNX", _check_onnx), ".tflite": ("a TFLite", check_tflite)}


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield a message's fields: number, wire type, value or first byte, end.

    Raises:
        ValueError: it is no protocol buffer, or ends behind its parent.

    """
    place = start
    while place < end:
        key, place = _varint(data, place, end)
        field, wire = key >> 3, key & 7
        value, stop = place, place
        if wire == VARINT:
            value, stop = _varint(data, place, end)
        elif wire == LENGTH:
            length, value = _varint(data, place, end)
            stop = value + length
        elif wire in (FIXED32, FIXED64):
            stop = place + (4 if wire == FIXED32 else 8)
        else:
            raise ValueError(f"wire type {wire}")
        if stop > end or field == 0:
            raise ValueError("a field that ends outside of its message")
        yield field, wire, value, stop
        place = stop


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("a number without an end")


def _check_package(path: Path) -> None:
    """Refuse links and entries that lead out of a package: Core ML's reader would follow them."""
    if not path.is_dir():
        raise InputError(f"{path}: want an {PACKAGE} folder, got nothing there")
    most = limits.current()
    for found, entry in enumerate(path.rglob("*"), 1):
        most.check("archive_files", found, path, "files")
        if entry.is_symlink():
            raise InputError(f"{entry}: want plain files in a package, got a link; copy the file")
        most.check_file("model_bytes", entry)
    manifest = path / "Manifest.json"
    try:
        most.check_file("document_bytes", manifest)
        entries = json.loads(manifest.read_bytes())["itemInfoEntries"]
        for item in entries.values():
            if not (path / "Data" / relative_path(item["path"])).exists():
                raise ValueError(f"no {item['path']}")  # Core ML's own reader may hang there
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: want a Core ML package whose Manifest.json lists files in it, got: {error}"
        ) from error
