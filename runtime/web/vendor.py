"""The engines that run in a browser: packages of npm, fetched once into the user's cache."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.place import targets_folder
from pocketportrait.runtime.targets.protocol import TargetError

BROWSER = "browser"  # the name that it is installed by
INSTALLED = "installed.json"  # written last
VENDOR = "vendor"
TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm, in one version, and the files of it that a page needs."""

    name: str
    version: str
    sha256: str  # of the package as npm delivers it
    folder: str  # where a page finds it below /vendor
    files: tuple[str, ...]  # inside the package; a page sees their last name alone


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
        "onnxruntime-web",
        (
            "dist/ort.wasm.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
            "dist/ort.webgpu.min.mjs",
            "dist/ort-wasm-simd-threaded.asyncify.mjs",
            "dist/ort-wasm-simd-threaded.asyncify.wasm",
        ),
    ),
    Package(
        "@litertjs/core",
        "2.5.3",
        "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        "litertjs-core",
        (
            "dist/index.js",
            *(
                f"wasm/litert_wasm_{kind}internal.{form}"
                for kind in ("", "compat_", "jspi_", "threaded_")
                for form in ("js", "wasm")
            ),
        ),
    ),
    Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        "litertjs-wasm-utils",
        ("dist/index.js",),
    ),
)
VERSIONS = {package.name: package.version for package in PACKAGES}


def browser_home() -> Path:
    """Return the folder that `targets install browser` fills."""
    return targets_folder() / BROWSER


def vendor_folder(home: Path | None = None) -> Path:
    """Return where the engines lie.

    Args:
        home: as `browser_home`, which it is by default.

    Raises:
        MissingToolError: they were not installed.

    """
    home = home or browser_home()
    if not (home / INSTALLED).is_file():
        raise MissingToolError(
            f"{BROWSER}: its engines are not installed;"
            f" run: pocketportrait targets install {BROWSER}"
        )
    return home / VENDOR


def fetch_packages(place: Path, tell: Callable[[str], None]) -> dict[str, str]:
    """Let npm download the packages, and unpack the files that a page needs.

    Nothing of them is run, and nothing else is fetched.

    Args:
        place: the folder that gets `vendor/`.
        tell: called with a line before each package.

    Returns:
        the versions, by package.

    Raises:
        MissingToolError: there is no npm.
        TargetError: a package could not be had, or is not the one that it was.

    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingToolError(f"{BROWSER}: want npm, got no program of the name; install npm")
    for package in PACKAGES:
        tell(f"{package.name} {package.version}, from npm")
        with tempfile.TemporaryDirectory(prefix="pocketportrait-") as folder:
            archive = _pack(npm, package, Path(folder))
            _unpack(archive, package, place / VENDOR / package.folder)
    return dict(VERSIONS)


def _pack(npm: str, package: Package, folder: Path) -> Path:
    wanted = f"{package.name}@{package.version}"
    command: list[str | Path] = [
        npm,
        "pack",
        wanted,
        "--silent",
        "--ignore-scripts",
        "--pack-destination",
        folder,
    ]
    ran = run_command(command, timeout_s=TIMEOUT_S, folder=folder)
    found = sorted(folder.glob("*.tgz"))
    if ran.status != 0 or len(found) != 1:
        lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
        raise TargetError(f"npm pack {wanted} failed: {' | '.join(lines[-5:])}")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != package.sha256:
        raise TargetError(
            f"{wanted}: want sha256 {package.sha256}, got {digest}; ask npm for another copy"
        )
    return found[0]


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(archive) as members:
        for file in package.files:
            content = members.extractfile(f"package/{file}")
            assert (
                content is not None
            )  # the digest says that this is the package that was looked at
            (folder / Path(file).name).write_bytes(content.read())
