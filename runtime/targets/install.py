"""What targets need, installed into a folder of the user's: packages of Debian, PyPI and npm, without root.

All come through this machine's own apt, pip and npm settings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from pocketportrait import __version__, atomic
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.arm_profiles import PROFILES
from pocketportrait.runtime.targets.chromium import (
    UNPACKED,
    VARIABLE,
    Chromium,
    find_chromium,
)
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.local import TFLITE_RUNTIME
from pocketportrait.runtime.targets.place import interpreter_of, targets_folder
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.qemu import INSTALLED, PLUGIN, QEMU_ARM64
from pocketportrait.runtime.web.vendor import BROWSER, fetch_packages

Tell = Callable[[str], None]
TIMEOUT_S = 3600.0
GUEST_PACKAGES = (
    "python3-minimal",
    "libpython3-stdlib",
    "libstdc++6",
    "libgomp1",
    "busybox-static",  # a shell, for the emulated device of the adb target's tests
)
ENGINES = ("numpy", "onnxruntime", "ai-edge-litert")
WHEELS = ("manylinux_2_17", "manylinux2014", "manylinux_2_27", "manylinux_2_28")
INSTALLABLE = (QEMU_ARM64, TFLITE_RUNTIME, BROWSER)
PLUGIN_SOURCE = "insncount.c"


def install_target(name: str, tell: Tell = lambda _: None, folder: Path | None = None) -> Path:
    """Install what a target needs, anew if it is there already.

    Args:
        name: qemu-arm64, tflite-runtime or browser.
        tell: called with a line before each step.
        folder: where; by default `targets_folder()`.

    Returns:
        the folder that was made.

    Raises:
        InputError: nothing is installed for such a target.
        MissingToolError: a program that installs is not there.
        TargetError: a package could not be had; the message quotes why.

    """
    installers = {QEMU_ARM64: _qemu_arm64, TFLITE_RUNTIME: _tflite_runtime, BROWSER: _browser}
    if name not in installers:
        raise InputError(f"targets install: want one of {', '.join(INSTALLABLE)}, got {name!r}")
    place = (folder or targets_folder()) / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    facts = installers[name](place, tell)
    facts["pocketportrait"] = __version__
    atomic.write_bytes(place / INSTALLED, json.dumps(facts, indent=2).encode() + b"\n")
    return place


def is_installed(name: str, folder: Path | None = None) -> bool:
    """Say whether a target was installed, whole, with the engines of today's versions."""
    record = (folder or targets_folder()) / name / INSTALLED
    if not record.is_file():
        return False
    facts = json.loads(record.read_bytes())
    return name != QEMU_ARM64 or all(facts.get(e) == (_version(e) or "") for e in ENGINES)


def _qemu_arm64(place: Path, tell: Tell) -> dict[str, str]:
    tell("the emulator, from Debian")
    _unpack(_download(place / "apt", ["qemu-user"], []), place / "host")
    tell("Python for arm64, from Debian")
    private = _private_apt(place / "apt", "arm64")
    _run(["apt-get", *private, "-q", "update"], "apt-get update for arm64")
    _unpack(_download(place / "apt-arm64", list(GUEST_PACKAGES), private), place / "root")
    shutil.rmtree(place / "apt")
    shutil.rmtree(place / "apt-arm64")
    tell("engines for arm64, from PyPI")
    (python,) = (place / "root" / "usr" / "bin").glob("python3.*[0-9]")
    wanted = [f"{name}=={v}" if (v := _version(name)) else name for name in ENGINES]
    platforms = [part for tag in WHEELS for part in ("--platform", f"{tag}_aarch64")]
    version = ["--python-version", python.name.removeprefix("python"), "--implementation", "cp"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--only-binary=:all:"]
    _run([*pip, "--target", str(place / "site"), *platforms, *version, *wanted], "pip")
    _compile_modules(place, python.name, tell)
    for profile in PROFILES.values():
        profile.write_root(place / "cpu" / profile.name, place / "root")
    tell("the instruction counter")
    _build_plugin(place / PLUGIN, tell)
    return dict(w.partition("==")[::2] for w in wanted) | {"python": python.name}


def _tflite_runtime(place: Path, tell: Tell) -> dict[str, str]:
    tell("an environment with numpy 1")
    python = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if python is None:
        raise MissingToolError(
            f"{TFLITE_RUNTIME}: want Python 3.11, the last that it has wheels for; install python3.11"
        )
    _run([python, "-m", "venv", str(place)], "python -m venv")
    pip = [str(interpreter_of(place)), "-m", "pip", "install", "-q"]
    _run([*pip, "numpy<2", "tflite-runtime==2.14.0"], "pip")
    return {"tflite-runtime": "2.14.0"}


def _browser(place: Path, tell: Tell) -> dict[str, str]:
    facts = fetch_packages(place, tell)
    if find_chromium(place) is None:
        if shutil.which("apt-get") is None:
            tell(f"no browser: install Chromium or Chrome, or name one with {VARIABLE}")
            return facts
        tell("Chromium, from Debian")
        _unpack(_download(place / "apt", ["chromium"], []), place / UNPACKED)
        shutil.rmtree(place / "apt")
    if program := find_chromium(place):
        with Chromium(program) as browser:  # one that lacks a library must not count as installed
            tell(f"{browser.version} starts")
            facts["browser"] = browser.version
    return facts


def _private_apt(folder: Path, architecture: str) -> list[str]:
    """Return settings by which apt reads this machine's sources for another architecture.

    Nothing of the system is changed: lists, cache and the (empty) list of what is installed are private.
    """
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Acquire::Languages": "none",
    }
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _download(folder: Path, packages: list[str], private: list[str]) -> list[Path]:
    """Download packages with what they need and this machine (or the empty one) lacks."""
    if shutil.which("apt-get") is None:
        raise MissingToolError("want apt-get (Debian 12 or newer), got none")
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::Cache": folder,
        "Dir::Cache::archives": archives,
        "Debug::NoLocking": 1,
        "APT::Install-Recommends": 0,
        "APT::Sandbox::User": "root",  # or apt, run by root, gives the files to another user
    }
    options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    command = ["apt-get", *private, *options, "-q", "-y", "--download-only", "--reinstall"]
    _run([*command, "install", *packages], f"apt-get install {' '.join(packages)}")
    return sorted(archives.glob("*.deb"))


def _unpack(packages: list[Path], root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        _run(["dpkg-deb", "-x", str(package), str(root)], f"dpkg-deb of {package.name}")


def _compile_modules(place: Path, python: str, tell: Tell) -> None:
    """Compile the guest's Python modules here: emulated, that took half of every job.

    Bytecode belongs to a minor version of Python, whatever the processor.
    """
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    compiler = sys.executable if own == python else shutil.which(python)
    if compiler is None:
        tell(f"no {python} here to compile modules: a job will take about twice as long")
        return
    folders = [str(place / "site"), str(place / "root" / "usr" / "lib" / python)]
    options = ["-q", "--invalidation-mode", "unchecked-hash"]  # files are never edited
    ran = run_command([compiler, "-m", "compileall", *options, *folders], timeout_s=TIMEOUT_S)
    if (
        ran.status != 0
    ):  # a package may ship what this version cannot read; it is not imported either
        tell(f"some modules are not compiled: {ran.said.strip().splitlines()[-1:]}")


def _build_plugin(path: Path, tell: Tell) -> None:
    """Compile the counter; without a compiler parity still works, so that this is no error."""
    source = Path(__file__).with_name(PLUGIN_SOURCE)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        tell("no C compiler: instructions will not be counted; install gcc and install again")
        return
    options = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
    _run([compiler, *options, "-o", str(path), str(source)], "the C compiler")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _run(command: list[str], what: str) -> None:
    try:
        ran = run_command(command, timeout_s=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"{what}: want it to end, got nothing for {TIMEOUT_S:.0f} s") from error
    if ran.status != 0:
        lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
        raise TargetError(f"{what} failed: {' | '.join(lines[-5:])}")
