"""Writing a bundle: beside its place, then in its place, so that a kill leaves the old or the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from pocketportrait import atomic
from pocketportrait.bundle import place
from pocketportrait.bundle.archive import write_zip
from pocketportrait.bundle.manifest import MANIFEST, FileFacts, GraphModel, Manifest, Variant
from pocketportrait.bundle.reader import Bundle, sha256_of
from pocketportrait.errors import InputError


class BundleWriter:
    """Collects files in `folder`; `finish` hashes them and puts the bundle in its place.

    Leaving the context without `finish` removes everything that was written.
    """

    def __init__(self, target: Path) -> None:
        """Name the folder, or the `.zip`, that the bundle will be."""
        self.target = Path(os.path.realpath(target))
        self._stack = contextlib.ExitStack()
        self._packed = self.target.suffix == ".zip"
        self._variants: dict[str, dict[str, Variant]] = {}

    def __enter__(self) -> Self:
        """Make the temporary folder.

        Raises:
            InputError: the place cannot be written to, or holds something that is no bundle.

        """
        target = self.target
        try:
            holds_other = (
                not self._packed
                and target.exists()
                and not (
                    target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()))
                )
            )
            if holds_other:
                raise InputError(
                    f"{target}: want a new folder or an old bundle, got something else there"
                )
        except OSError as error:
            raise InputError(
                f"{target}: want a writable place, got: {error.strerror}; choose another"
            ) from error
        place.restore(target)
        self.folder = self._stack.enter_context(atomic.making_folder(target))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is left of the temporary folder."""
        self._stack.close()
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
        if self._packed:
            write_zip(self.folder, self.target)
            return Bundle.open(self.target)
        place.sync(self.folder)
        place.take_place(self.folder, self.target)
        return Bundle(self.target, manifest)
