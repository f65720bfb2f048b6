"""The system's `adb` client, asked and quoted. Its exit status is a hint: a dying device ends with 0."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pocketportrait.runtime.targets.command import Ran, run_command
from pocketportrait.runtime.targets.folder_target import too_slow
from pocketportrait.runtime.targets.protocol import TargetError

SHORT_S = 120.0
COPY_S = 1200.0
READY = "device"
REMEDIES = {
    "unauthorized": "accept this computer's key on its screen",
    "offline": "reconnect it, or run: adb reconnect offline",
    "no permissions": "install android-sdk-platform-tools-common for the udev rules",
}


class AdbClient:
    """One device, by its serial number; nothing is asked before a method is called."""

    def __init__(self, name: str, serial: str) -> None:
        """Remember the device.

        Args:
            name: of the target, for messages.
            serial: as `adb devices` shows it; empty for the only device that there is.

        """
        self._name, self._serial = name, serial

    def missing(self) -> str | None:
        """Say why the device cannot be used, or None; from then on it is named by its serial."""
        if shutil.which("adb") is None:
            return (
                f"{self._name}: want the program adb, got none; install Debian's package adb,"
                " or Android's platform tools"
            )
        states = self._states()
        known = ", ".join(states) or "none"
        if not self._serial and len(states) != 1:
            return (
                f"{self._name}: want one device, got {known}; connect one, or name one: adb:SERIAL"
            )
        serial = self._serial or next(iter(states))
        if serial not in states:
            return f"{self._name}: want this device, got {known}; connect it, or see: adb devices"
        if (state := states[serial]) != READY:
            remedy = REMEDIES.get(state, "see: adb devices")
            return f"{self._name}: want a ready device, got one that is {state}; {remedy}"
        self._serial = serial
        return None

    def shell(self, command: Sequence[str], timeout_s: float = SHORT_S) -> Ran:
        """Run a command in the device's shell, its words quoted.

        Raises:
            TargetError: it took too long.

        """
        return self._ran(["shell", shlex.join(command)], timeout_s)

    def push(self, sources: Sequence[Path], folder: str) -> None:
        """Copy files and folders into a folder of the device.

        Raises:
            TargetError: they did not get there, as far as the client knows.

        """
        ran = self._ran(["push", *map(str, sources), f"{folder}/"], COPY_S)
        if ran.status != 0:
            raise TargetError(f"{self._name}: the copy failed: {told(ran)}")

    def pull(self, sources: Sequence[str], folder: Path) -> Ran:
        """Copy files of the device into a folder here; what came is for the caller to judge."""
        return self._ran(["pull", *sources, f"{folder}/"], COPY_S)

    def require(self) -> None:
        """Refuse to go on without the device.

        Raises:
            TargetError: it vanished.

        """
        state = self._states().get(self._serial, "not there any more")
        if state != READY:
            raise TargetError(f"{self._name}: vanished: the device is {state}")

    def _states(self) -> dict[str, str]:
        ran = self._run(["adb", "devices"], SHORT_S)
        rows = (line.split("\t", 1) for line in ran.out.splitlines() if "\t" in line)
        # "no permissions (user in plugdev group; ...); see [...]"
        return {serial: state.split(" (")[0].split(";")[0].strip() for serial, state in rows}

    def _ran(self, arguments: list[str], timeout_s: float) -> Ran:
        return self._run(["adb", "-s", self._serial, *arguments], timeout_s)

    def _run(self, arguments: list[str], timeout_s: float) -> Ran:
        try:
            return run_command(arguments, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise too_slow(self._name, timeout_s) from error


def told(ran: Ran) -> str:
    """Return the line by which a command tells why: the last error, else its last line, else its status."""
    lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]  # a summary follows them
    return [f"nothing, status {ran.status}", *lines, *errors][-1]
