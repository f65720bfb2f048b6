"""Writing a bundle: beside its place, then in its place, so that a kill leaves the old or the new one."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from pocketportrait.bundle.manifest import MANIFEST, FileFacts, GraphModel, Manifest, Variant
from pocketportrait.bundle.reader import Bundle, sha256_of
from pocketportrait.errors import InputError


class BundleWriter:
    """Collects files in `folder`; `finish` hashes them and puts the bundle in its place.

    Leaving the context without `finish` removes everything that was written.
    """

    def __init__(self, target: Path) -> None:
        """Name the folder that the bundle will be."""
        self.target = Path(os.path.realpath(target))
        self.folder = self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}")
        self._variants: dict[str, dict[str, Variant]] = {}

    def __enter__(self) -> Self:
        """Make the temporary folder.

        Raises:
            InputError: the place cannot be written to, or holds something that is no bundle.

        """
        target = self.target
        try:
            holds_other = target.exists() and not (
                target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))
            )
            if holds_other:
                raise InputError(
                    f"{target}: want a new folder or an old bundle, got something else there"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir()
        except OSError as error:
            raise InputError(
                f"{target}: want a writable place, got: {error.strerror}; choose another"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is left of the temporary folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(
                f"{self.target}: could not be written: {error.strerror or error}"
            ) from error

    def add_variant(self, format: str, precision: str, variant: Variant) -> None:
        """Add a variant whose files stand in `folder` already; one of the same name is replaced."""
        self._variants.setdefault(format, {})[precision] = variant

    def carry_over(self, bundle: Bundle) -> None:
        """Copy all files and variants of another bundle, to add to them."""
        for name in bundle.manifest.files:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.root / name, target)
        for format, by_precision in bundle.manifest.variants.items():
            for precision, variant in by_precision.items():
                self.add_variant(format, precision, variant)

    def finish(
        self,
        *,
        graphs: Mapping[str, GraphModel],
        code_slices: Mapping[str, tuple[int, int]],
        golden: Mapping[str, tuple[str, ...]],
        tools: Mapping[str, str],
        licence: str,
        model: Mapping[str, str],
        figures: Mapping[str, Any] | None = None,
    ) -> Bundle:
        """Write the manifest, sync, and take the target's place.

        Raises:
            InputError: the facts and the files do not fit, or the disk is full.

        """
        files = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            path.chmod(0o666 & ~_umask())
            name = path.relative_to(self.folder).as_posix()
            files[name] = FileFacts(bytes=path.stat().st_size, sha256=sha256_of(path))
        try:
            manifest = Manifest(
                graphs=dict(graphs),
                code_slices=dict(code_slices),
                variants={f: dict(sorted(by.items())) for f, by in sorted(self._variants.items())},
                files=files,
                golden=dict(golden),
                tools=dict(sorted(tools.items())),
                licence=licence,
                model=dict(sorted(model.items())),
                figures=dict(figures or {}),
            )
        except ValidationError as error:
            raise InputError(f"{self.target}: {error.errors()[0]['msg']}") from error
        (self.folder / MANIFEST).write_bytes(manifest.to_bytes())
        _sync(self.folder)
        _take_place(self.folder, self.target)
        return Bundle(self.target, manifest)


def _sync(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_place(new: Path, target: Path) -> None:
    """Put `new` where `target` is; what stood there moves to the name of `new` or is gone."""
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        # two steps where the system has no exchange: a kill between them leaves the old one as .old
        old = new.with_suffix(".old")
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or its disk cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(one), os.fsencode(other)
    at_cwd, swap = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
    if sys.platform == "darwin":
        return bool(libc.renamex_np(a, b, swap) == 0)
    try:
        return bool(libc.renameat2(at_cwd, a, at_cwd, b, swap) == 0)
    except AttributeError:
        return False


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
