"""An Android phone, or any device with an adb daemon: `adb:SERIAL`.

There is no Python there: a native runner (`android_demo/runner`) reads the same job's folder and writes the
same report. It and the engine's library are sent once and stay; a job's folder does not.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.adb_client import AdbClient, told
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.device import FAILURE, JOB, RESULT
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed
from pocketportrait.runtime.targets.place import targets_folder
from pocketportrait.runtime.targets.protocol import Probe, TargetError, Traits

ADB = "adb"  # the folder of `targets_folder()` with a folder a platform
FOLDER = "/data/local/tmp"  # where adb's shell may write and run programs
RUNNER = "portrait_runner"
LIBRARIES = {"onnxruntime": "libonnxruntime.so", "litert": "libLiteRt.so"}
ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
SERIAL = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]%-]*")
EMULATOR = "emulator-"  # how serials of Android's own emulator begin
PROPERTIES = ("ro.build.version.release", "ro.product.cpu.abi", "ro.kernel.qemu", "ro.boot.qemu")
ASK = (
    "uname -s; uname -m; for name in " + " ".join(PROPERTIES) + ";"
    ' do echo "$(getprop $name 2>/dev/null)"; done'
)
EMULATED = "1"  # of the properties that end in qemu
UPLOADED = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True, slots=True)
class Platform:
    """What binaries a device runs."""

    name: str  # of the folder that they lie in
    emulated: bool


class AdbTarget(FolderTarget):
    """One device."""

    def __init__(self, serial: str = "", *, home: Path | None = None, folder: str = FOLDER) -> None:
        """Remember the device; nothing is sent yet.

        Args:
            serial: as `adb devices` shows it; empty for the only device that there is.
            home: where runners and libraries lie, a folder a platform; by default in `targets_folder()`.
            folder: where the device's shell may write and run programs.

        Raises:
            InputError: the serial is none.

        """
        if serial and not SERIAL.fullmatch(serial):
            raise InputError(f"adb: want a serial number as adb devices shows it, got {serial!r}")
        emulated = serial.startswith(EMULATOR)
        traits = Traits(tuple(ENGINES), True, not emulated, "", emulated)
        super().__init__(f"{ADB}:{serial}" if serial else ADB, traits, ENGINES)
        self._client = AdbClient(self.name, serial)
        self._home = home or targets_folder() / ADB
        self._folder = folder
        self._platform = ""
        self._probed: Probe | None = None

    def probe(self) -> Probe:
        """Say whether the device answers and its runner was built; asked once.

        Learns whether the device is emulated: its times are then never asked for.
        """
        if self._probed is None:
            self._probed = Probe(self._missing())
        return self._probed

    def _missing(self) -> str | None:
        if reason := self._client.missing():
            return reason
        try:
            platform = platform_of(self._client.shell(["sh", "-c", ASK]))
        except TargetError as error:
            return f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}"
        self._platform = platform.name
        emulated = self.traits.emulated or platform.emulated
        self.traits = dataclasses.replace(self.traits, emulated=emulated, can_latency=not emulated)
        home = self._home / platform.name
        if not (home / RUNNER).is_file():
            return (
                f"{self.name}: want {RUNNER} for {platform.name} in {home}, got none;"
                " build it from android_demo/runner: see docs/targets.md"
            )
        return None

    def _send(self, pushed: Pushed) -> None:
        engine = self._engine_of(pushed)
        self._send_engine(engine)
        pushed.remote = f"{self._folder}/pocketportrait-{pushed.folder.name.rpartition('-')[2]}"
        made = self._client.shell(["mkdir", pushed.remote])
        if made.status != 0:
            raise TargetError(f"{self.name}: want a folder there, got: {told(made)}")
        (model,) = pushed.folder.glob("model.*")
        self._client.push([model, pushed.folder / "in", pushed.folder / JOB], pushed.remote)

    def _send_engine(self, engine: str) -> None:
        """Send the runner and a library unless they are there, and compare what is there afterwards."""
        home = self._home / self._platform
        if not (home / LIBRARIES[engine]).is_file():
            raise MissingToolError(
                f"{self.name}: want {LIBRARIES[engine]} for {self._platform} in {home}, got none;"
                " take it from the engine's package: see docs/targets.md"
            )
        files = {name: _digest(home / name) for name in (RUNNER, LIBRARIES[engine])}
        if self._there(files) == files:
            return
        place = self._programs
        self._client.shell(["mkdir", "-p", place])
        self._client.push([home / name for name in files], place)
        self._client.shell(["chmod", "755", f"{place}/{RUNNER}"])
        got = self._there(files)
        for name, digest in files.items():
            if got.get(name) != digest:
                self._client.require()
                raise TargetError(
                    f"{self.name}: {name}: want sha256 {digest} there,"
                    f" got {got.get(name, 'no such file')}; send it again"
                )

    def _there(self, files: dict[str, str]) -> dict[str, str]:
        paths = [f"{self._programs}/{name}" for name in files]
        listed = self._client.shell(["sha256sum", *paths]).out.splitlines()
        rows = (m for line in listed if (m := UPLOADED.fullmatch(line.strip())))
        return {row[2].rpartition("/")[2]: row[1] for row in rows}

    @property
    def _programs(self) -> str:
        return f"{self._folder}/pocketportrait"

    def _engine_of(self, pushed: Pushed) -> str:
        (model,) = pushed.folder.glob("model.*")
        return ENGINES[model.suffix.removeprefix(".")]

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        library = LIBRARIES[self._engine_of(pushed)]
        command = [f"{self._programs}/{RUNNER}", pushed.remote, f"{self._programs}/{library}"]
        pushed.said = self._client.shell([*command, str(int(timeout_s) + 1)], timeout_s).said

    def _fetch(self, pushed: Pushed) -> None:
        outputs = [f"out/{path.name}" for path in sorted((pushed.folder / "in").iterdir())]
        listed = self._client.shell(["ls", "-1", pushed.remote, f"{pushed.remote}/out"])
        there = set(listed.out.split())
        (pushed.folder / "out").mkdir(exist_ok=True)
        for folder, names in (
            (pushed.folder, [name for name in (RESULT, FAILURE) if name in there]),
            (pushed.folder / "out", [o for o in outputs if o.rpartition("/")[2] in there]),
        ):
            if names:
                self._client.pull([f"{pushed.remote}/{name}" for name in names], folder)
        if not (pushed.folder / RESULT).is_file() and not (pushed.folder / FAILURE).is_file():
            self._client.require()

    def _remove(self, pushed: Pushed) -> None:
        if pushed.remote:
            try:
                self._client.shell(["rm", "-rf", pushed.remote])
            except TargetError:
                return  # it vanished, and the folder with it


def platform_of(answer: Ran) -> Platform:
    """Return the platform of a device that was asked `ASK`.

    Raises:
        TargetError: it said something else.

    """
    lines = [line.strip() for line in answer.out.splitlines()]
    if len(lines) != 2 + len(PROPERTIES) or not lines[1]:
        raise TargetError(f"want the device's system and CPU, got: {told(answer)}")
    system, machine, release, abi, *emulated = lines
    name = f"android-{abi}" if release else f"{system.lower()}-{machine}"
    if not re.fullmatch(r"[a-z]+-[A-Za-z0-9_-]+", name):
        raise TargetError(f"want the device's system and CPU, got: {name!r}")
    return Platform(name, EMULATED in emulated)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
