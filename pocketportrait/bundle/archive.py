"""A bundle as one `.zip`: written the same every time, and read with suspicion."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from pocketportrait import atomic, limits
from pocketportrait.bundle.manifest import MANIFEST, relative_path
from pocketportrait.errors import InputError

RATIO_FLOOR_BYTES = 2**20  # small files of zeros are harmless
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name


def write_zip(bundle_folder: Path, path: Path) -> None:
    """Write the files of a bundle's folder as one `.zip`, whole or not at all.

    Files are stored, not packed: bytes then depend on no version of a compressor.

    Raises:
        InputError: the place cannot be written to.

    """
    files = sorted(p for p in bundle_folder.rglob("*") if p.is_file())
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(bundle_folder).as_posix(), EPOCH)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(entry, "w") as target:
                shutil.copyfileobj(source, target)


def extract(path: Path, folder: Path) -> Path:
    """Unpack a bundle's `.zip` into an empty folder and return where its manifest lies.

    Raises:
        InputError: no zip, damaged, or its entries are too many, too large, too dense, links, or
            leave the folder.

    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir()]
            _check(path, entries)
            for entry in entries:
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile gives at most `file_size` bytes and compares their checksum
                with archive.open(entry) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{path}: want a bundle (a folder or .zip), got a file that is none ({error})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: could not be unpacked: {error.strerror or error}") from error
    top = list(folder.iterdir())
    inside = len(top) == 1 and top[0].is_dir() and not (folder / MANIFEST).exists()
    return top[0] if inside else folder


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    most = limits.current()
    most.check("archive_files", len(entries), path, "files")
    most.check("archive_bytes", sum(e.file_size for e in entries), path, "bytes unpacked")
    names: set[str] = set()
    for entry in entries:
        try:
            relative_path(entry.filename)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(f"{path}: {entry.filename}: want plain files, got a link")
        if entry.filename.casefold() in names:
            raise InputError(f"{path}: {entry.filename}: want each name once, got it twice")
        names.add(entry.filename.casefold())
        if entry.file_size > RATIO_FLOOR_BYTES:
            ratio = entry.file_size / max(entry.compress_size, 1)
            most.check("archive_ratio", ratio, f"{path}: {entry.filename}", "bytes from one")
