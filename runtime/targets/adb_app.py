"""The Android demo as a measuring device: its instrumentation checks a bundle on a phone, and reports.

A bundle goes there as one `.zip`, `am instrument` runs the app's ParityInstrumentation on it, and the report
comes back through `run-as`, which reaches the files of a debug build. Neither exit status nor silence is
believed: the results have to name the nonce of this run and the digest of the report that came.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pocketportrait.bundle import Bundle, write_zip
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.adb import ADB, ASK, EMULATOR, FOLDER, SERIAL, platform_of
from pocketportrait.runtime.targets.adb_client import AdbClient, told
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.instrumentation import Instrumented, read_instrumentation
from pocketportrait.runtime.targets.protocol import TIMEOUT_S, Probe, TargetError

PACKAGE = "dev.pocketportrait.demo"
INSTRUMENTATION = f"{PACKAGE}/.ParityInstrumentation"
REPORT = "files/report.json"  # in the app's own folder, where `run-as` starts
FORMATS = {"ort": "onnx", "litert": "tflite"}  # by engine
ACCELERATORS = {"ort": ("cpu",), "litert": ("cpu", "gpu")}


@dataclass(frozen=True)
class AppJob:
    """One variant of a bundle, and what runs it how often."""

    bundle: Bundle
    precision: str
    engine: str = "ort"
    accelerator: str = "cpu"
    runs: int = 30  # passes of every graph that are measured
    timeout_s: float = TIMEOUT_S
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        """Refuse an engine or accelerator that the app does not have, and variants that nobody has."""
        if self.accelerator not in ACCELERATORS.get(self.engine, ()):
            want = ", ".join(f"{e} on {a}" for e, all_ in ACCELERATORS.items() for a in all_)
            raise InputError(f"app: want {want}, got {self.engine} on {self.accelerator}")
        self.bundle.variant(FORMATS[self.engine], self.precision)


@dataclass(frozen=True)
class AppAnswer:
    """A report that is whole and of this job; what it says is for validation to judge."""

    target: str
    emulated: bool
    passed: bool  # as the app says
    report: bytes  # JSON, docs/schemas/report-1.json


class AdbApp:
    """The app on one device."""

    def __init__(self, serial: str = "", *, folder: str = FOLDER) -> None:
        """Remember the device; nothing is sent yet.

        Args:
            serial: as `adb devices` shows it; empty for the only device that there is.
            folder: where the device's shell may write.

        Raises:
            InputError: the serial is none.

        """
        if serial and not SERIAL.fullmatch(serial):
            raise InputError(f"adb: want a serial number as adb devices shows it, got {serial!r}")
        self.name = f"{ADB}:{serial}" if serial else ADB
        self.emulated = serial.startswith(EMULATOR)
        self._client = AdbClient(self.name, serial)
        self._folder = folder

    def probe(self) -> Probe:
        """Say whether the device answers and has a debug build of the app.

        Learns whether the device is emulated: a report of it that holds times is then refused.
        """
        if reason := self._client.missing():
            return Probe(reason)
        try:
            platform = platform_of(self._client.shell(["sh", "-c", ASK]))
            inside = self._inside(["pwd"])
        except TargetError as error:
            return Probe(f"{self.name}: {str(error).removeprefix(f'{self.name}: ')}")
        self.emulated = self.emulated or platform.emulated
        if not inside.out.startswith("/"):
            return Probe(
                f"{self.name}: want a debug build of {PACKAGE}, got: {told(inside)};"
                " install it: see android_demo/README.md"
            )
        return Probe()

    def run(self, job: AppJob) -> AppAnswer:
        """Send the bundle, run the instrumentation, bring the report, and leave nothing behind.

        Raises:
            MissingToolError: the device or the app is not there.
            TargetError: the device vanished or broke off, or its report is missing, cut off or foreign.

        """
        if (reason := self.probe().reason) is not None:
            raise MissingToolError(reason)
        name = f"pocketportrait-{job.nonce[:12]}"
        place = f"{self._folder}/{name}"
        try:
            sent = self._send(job, place, f"files/{name}")
            return self._answer(job, self._instrument(job, sent))
        finally:
            self._remove(place, f"files/{name}")

    def _send(self, job: AppJob, place: str, inside: str) -> str:
        """Bring the bundle into the app's folder; returns where it is, as the app is told."""
        # a report names a bundle as its folder is called
        named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", job.bundle.root.name)
        file = f"{named[0] if named else 'bundle'}.zip"
        with tempfile.TemporaryDirectory(prefix="pocketportrait-app-") as folder:
            write_zip(job.bundle.root, Path(folder) / file)
            digest = hashlib.sha256((Path(folder) / file).read_bytes()).hexdigest()
            made = self._client.shell(["mkdir", place])
            if made.status != 0:
                raise TargetError(f"{self.name}: want a folder there, got: {told(made)}")
            self._client.push([Path(folder) / file], place)
        # the app is another user than adb's shell
        self._client.shell(["chmod", "755", place])
        self._client.shell(["chmod", "644", f"{place}/{file}"])
        self._inside(["mkdir", "-p", inside])
        copied = self._inside(["cp", f"{place}/{file}", f"{inside}/{file}"])
        got = self._inside(["sha256sum", f"{inside}/{file}"])
        if got.out.split()[:1] != [digest]:
            self._client.require()
            said = told(copied) if copied.said.strip() else told(got)
            raise TargetError(f"{self.name}: the app's copy of the bundle is another: {said}")
        return f"{inside.removeprefix('files/')}/{file}"

    def _instrument(self, job: AppJob, bundle: str) -> Instrumented:
        wishes = {
            "bundle": bundle,
            "runs": str(job.runs),
            "engine": job.engine,
            "accel": job.accelerator,
            "precision": job.precision,
            "nonce": job.nonce,
        }
        extras = [word for name, value in wishes.items() for word in ("-e", name, value)]
        self._inside(["rm", "-f", REPORT])
        try:
            ran = self._client.shell(
                ["am", "instrument", "-w", "-r", *extras, INSTRUMENTATION], job.timeout_s
            )
        except TargetError:
            with contextlib.suppress(TargetError):
                self._client.shell(["am", "force-stop", PACKAGE])
            raise
        try:
            ended = read_instrumentation(ran.out, ran.said)
        except ValueError as error:
            raise TargetError(f"{self.name}: want results once each, got: {error}") from error
        if complaint := ended.complaint:
            self._client.require()
            nothing = not ended.results and not ended.failure
            raise TargetError(
                f"{self.name}: want results of {INSTRUMENTATION}, got: {complaint}"
                + (f" ({told(ran)})" if nothing else "")
            )
        return ended

    def _answer(self, job: AppJob, ended: Instrumented) -> AppAnswer:
        if (nonce := ended.results.get("nonce")) != job.nonce:
            raise TargetError(f"{self.name}: want the nonce {job.nonce}, got {nonce}; run it again")
        report = self._inside(["cat", REPORT]).out.encode()
        digest = hashlib.sha256(report).hexdigest()
        if digest != (told_digest := ended.results.get("sha256")):
            self._client.require()
            raise TargetError(
                f"{self.name}: want the report with sha256 {told_digest},"
                f" got {len(report)} bytes with {digest}; run it again"
            )
        return AppAnswer(self.name, self.emulated, ended.results.get("passed") == "true", report)

    def _inside(self, command: Sequence[str]) -> Ran:
        """Run a command as the app, in the app's own folder."""
        return self._client.shell(["run-as", PACKAGE, *command])

    def _remove(self, place: str, inside: str) -> None:
        with contextlib.suppress(TargetError):  # it vanished, and the folders with it
            self._client.shell(["rm", "-rf", place])
            self._inside(["rm", "-rf", inside])


def precisions_for(bundle: Bundle, engine: str) -> tuple[str, ...]:
    """Return every precision of a bundle that an engine of the app runs.

    Raises:
        InputError: there is no such engine, or nothing in the bundle for it.

    """
    format = FORMATS.get(engine)
    found = tuple(bundle.manifest.variants.get(format, ())) if format else ()
    if not found:
        raise InputError(
            f"app: want an engine ({', '.join(FORMATS)}) and files for it, got {engine!r} and"
            f" {', '.join(bundle.manifest.variants)} in the bundle"
        )
    return found


def app_named(name: str) -> AdbApp:
    """Return the app on the device that a target's name names: `adb`, or `adb:SERIAL`.

    Raises:
        InputError: it is the name of something else.

    """
    kind, _, serial = name.partition(":")
    if kind != ADB or (name != ADB and not serial):
        raise InputError(f"app: want adb or adb:SERIAL, got {name!r}")
    return AdbApp(serial)
