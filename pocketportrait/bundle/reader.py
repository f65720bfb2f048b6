"""Reading a bundle: nothing in it is used before sizes and digests of all files agree."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.numpy import load_file

from pocketportrait import atomic, limits
from pocketportrait.bundle.archive import extract
from pocketportrait.bundle.intake import MODEL_SUFFIXES, check_model
from pocketportrait.bundle.manifest import MANIFEST, PACKAGE, FileFacts, Manifest, Variant
from pocketportrait.contract import Array, GraphSpec
from pocketportrait.errors import InputError


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. Files beside the listed ones are never read.

    Opened from a `.zip` it lives in a private temporary folder until it is closed.
    """

    root: Path
    manifest: Manifest
    _temporary: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder or a `.zip` of it, and verify every file.

        Raises:
            InputError: not a bundle, another schema version, or a file is missing, damaged,
                unlisted inside an `.mlpackage`, or outside the bundle.

        """
        path = Path(path)
        if path.is_dir():
            return cls._verified(path, path)
        if not path.exists():
            raise InputError(f"{path}: want a bundle (a folder or .zip), got nothing there")
        with contextlib.ExitStack() as stack:
            folder = extract(path, stack.enter_context(atomic.scratch_folder()))
            return cls._verified(path, folder, stack.pop_all)

    @classmethod
    def _verified(
        cls,
        path: Path,
        folder: Path,
        keep: Callable[[], contextlib.ExitStack] = contextlib.ExitStack,
    ) -> Self:
        file = folder / MANIFEST
        if not file.is_file():
            raise InputError(f"{path}: want a bundle, got no {MANIFEST} in it")
        try:
            limits.current().check_file("document_bytes", file)
            manifest = Manifest.from_bytes(file.read_bytes())
            root = folder.resolve()
            for name, facts in manifest.files.items():
                _verify(root, name, facts)
            _refuse_strangers(root, manifest)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except OSError as error:
            raise InputError(f"{path}: could not be read: {error.strerror or error}") from error
        return cls(root, manifest, keep())

    def __enter__(self) -> Self:
        """Return the bundle."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bundle."""
        self.close()

    def close(self) -> None:
        """Remove the temporary folder of a bundle that was opened from a `.zip`."""
        if self._temporary is not None:
            self._temporary.close()

    def variant(self, format: str, precision: str) -> Variant:
        """Return one variant.

        Raises:
            InputError: the bundle does not hold it; the message names what it holds.

        """
        found = self.manifest.variants.get(format, {}).get(precision)
        if found is None:
            held = [f"{f}/{p}" for f, by in self.manifest.variants.items() for p in by]
            raise InputError(
                f"{format}/{precision}: not in this bundle; it holds {', '.join(held) or 'none'}"
            )
        return found

    def file(self, relative: str) -> Path:
        """Return where a listed file, or an `.mlpackage` of listed files, lies.

        Raises:
            InputError: it is not listed in the manifest, or a model that `check_model` refuses.

        """
        if not self.manifest.files_of(relative):
            raise InputError(f"{relative}: want a file that {MANIFEST} lists, got another")
        path = self.root / relative
        return check_model(path) if path.suffix in MODEL_SUFFIXES else path

    def graph_spec(self, name: str) -> GraphSpec:
        """Return a graph's contract: NCHW, float32.

        Raises:
            InputError: there is no such graph.

        """
        if name not in self.manifest.graphs:
            raise InputError(
                f"{name}: no such graph; want one of {', '.join(self.manifest.graphs)}"
            )
        return self.manifest.graphs[name].spec(name)

    def golden(self, graph: str) -> Iterator[dict[str, Array]]:
        """Yield a graph's golden vectors: inputs, outputs, and float64 outputs as `<name>.float64`.

        Raises:
            InputError: a file is no safetensors file.

        """
        for path in self.manifest.golden.get(graph, ()):
            try:
                yield dict(load_file(self.file(path)))
            except SafetensorError as error:
                raise InputError(f"{path}: want safetensors, got another file ({error})") from error


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(root: Path, name: str, facts: FileFacts) -> None:
    path = root / name
    if not path.is_file():
        raise InputError(f"{name}: listed but missing; export or copy the bundle again")
    if not path.resolve().is_relative_to(root):
        raise InputError(f"{name}: a link that leaves the bundle; copy the file itself")
    if (size := path.stat().st_size) != facts.bytes:
        raise InputError(
            f"{name}: want {facts.bytes} bytes, got {size}; export or copy the bundle again"
        )
    if sha256_of(path) != facts.sha256:
        raise InputError(
            f"{name}: its sha256 is not the listed one; export or copy the bundle again"
        )


def _refuse_strangers(root: Path, manifest: Manifest) -> None:
    """Core ML reads a whole folder, so a file that nobody listed there could change the model."""
    packages = {
        g.path
        for by_precision in manifest.variants.values()
        for v in by_precision.values()
        for g in v.graphs.values()
        if g.path.endswith(PACKAGE)
    }
    for package in sorted(packages):
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root).as_posix()
            if not path.is_dir() and name not in manifest.files:
                raise InputError(f"{name}: a file that {MANIFEST} does not list; remove it")
