"""Debian's packages without root: unpacked beside this machine's own, from its own sources.

The lists of packages are private and fetched once: those of the machine may be missing or out of date, and
few machines have lists of sources.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

SOURCES = Path("/etc/apt")
Run = Callable[[Sequence[str], Path], None]


class Debian:
    """Packages and source packages of the release that this machine runs."""

    def __init__(self, folder: Path, run: Run, *, sources: Path = SOURCES) -> None:
        """Take a folder for the lists.

        Args:
            folder: gets the lists when the first package is asked for.
            run: runs a command in a folder, or raises.
            sources: where the machine names its own.

        """
        self._folder, self._run, self._sources = folder, run, sources
        self._has_lists = False

    def unpack(self, packages: Sequence[str], place: Path) -> None:
        """Download packages and unpack them into a folder."""
        self._apt(["download", *packages], place)
        for deb in place.glob("*.deb"):
            self._run(["dpkg-deb", "-x", str(deb), str(place)], place)
            deb.unlink()

    def original(self, package: str, place: Path) -> Path:
        """Download the original archive of a source package into a folder."""
        self._apt(["source", "--download-only", package], place)
        (archive,) = place.glob("*.orig.tar.*")
        return archive

    def close(self) -> None:
        """Remove the lists."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._has_lists = False

    def _apt(self, arguments: Sequence[str], place: Path) -> None:
        private = {
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
            "Acquire::Languages": "none",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._folder / "sources",
            "Dir::State::lists": self._folder / "lists",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
        }
        options = [part for key, value in private.items() for part in ("-o", f"{key}={value}")]
        if not self._has_lists:
            self._prepare()
            self._run(["apt-get", *options, "-q", "update"], self._folder)
            self._has_lists = True
        self._run(["apt-get", *options, "-q", *arguments], place)

    def _prepare(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("sources", "lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "status").touch()
        files = [*self._sources.glob("sources.list"), *self._sources.glob("sources.list.d/*")]
        for file in files:
            text = file.read_text() if file.suffix in (".list", ".sources") else ""
            if "debian" in text:
                (self._folder / "sources" / file.name).write_text(with_sources(text))


def with_sources(text: str) -> str:
    """Return what names packages, in either of Debian's two forms, naming their sources too."""
    lines = []
    for line in text.splitlines():
        if line.startswith("Types:"):
            lines.append("Types: deb deb-src")
        elif line.startswith("deb "):
            lines += [line, line.replace("deb ", "deb-src ", 1)]
        elif not line.startswith("deb-src "):
            lines.append(line)
    return "\n".join(lines) + "\n"
