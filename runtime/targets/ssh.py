"""Another machine over ssh: a Raspberry Pi, a Jetson, any Linux or Mac with Python 3.11 and an engine.

The system's own `ssh` and `scp` do the work, so hosts, ports, keys and jumps are those of the user's ssh
configuration. What goes to the remote shell is quoted; a host that looks like an option is refused.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.archive import ARCHIVE
from pocketportrait.runtime.targets.command import Ran, run_command
from pocketportrait.runtime.targets.device import FAILURE, RESULT
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed, too_slow
from pocketportrait.runtime.targets.protocol import Probe, TargetError, Traits

CONFIG_VARIABLE = "POCKETPORTRAIT_SSH_CONFIG"  # another file than the user's
PYTHON_VARIABLE = "POCKETPORTRAIT_SSH_PYTHON"  # the interpreter over there
ENGINES = {"onnx": "onnxruntime", "tflite": "litert"}
HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_\[][A-Za-z0-9_.:\]-]*")
REMOTE = re.compile(r"/[A-Za-z0-9_./-]+")
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15")
BROKEN = 255  # ssh's own status
SHORT_S = 120.0
CHECK = (
    "import sys, numpy; sys.version_info >= (3, 11) or"
    " sys.exit('want Python 3.11 or newer, got ' + sys.version.split()[0])"
)
BACK = (RESULT, FAILURE, "out")  # all that is fetched; what was sent is not trusted to come back


class SshTarget(FolderTarget):
    """One host."""

    def __init__(self, host: str, *, config: Path | None = None, python: str | None = None) -> None:
        """Remember the host; nothing is sent yet.

        Args:
            host: as ssh takes it: an alias, a name or an address, with `user@` or without.
            config: an ssh configuration; by default `POCKETPORTRAIT_SSH_CONFIG`, else the user's.
            python: the interpreter there; by default `POCKETPORTRAIT_SSH_PYTHON`, else python3.

        Raises:
            InputError: the host is none.

        """
        if not HOST.fullmatch(host):
            raise InputError(f"ssh: want a host as ssh takes it, got {host!r}")
        super().__init__(f"ssh:{host}", Traits(tuple(ENGINES), True, True, "", False), ENGINES)
        self._host = host
        named = os.environ.get(CONFIG_VARIABLE)
        self._config = config or (Path(named) if named else None)
        self._python = python or os.environ.get(PYTHON_VARIABLE) or "python3"
        self._probed: Probe | None = None

    def probe(self) -> Probe:
        """Say whether the host answers and has what the runner needs; asked once."""
        if self._probed is None:
            self._probed = Probe(self._missing())
        return self._probed

    def _missing(self) -> str | None:
        for program in ("ssh", "scp"):
            if shutil.which(program) is None:
                return f"{self.name}: want the program {program}, got none; install openssh-client"
        try:
            ran = self._there([self._python, "-c", CHECK], SHORT_S)
        except TargetError as error:
            return str(error)
        if ran.status == 0:
            return None
        return (
            f"{self.name}: want {self._python} with numpy and an engine there, got: {_last(ran)};"
            f" install them, or name another interpreter with {PYTHON_VARIABLE}"
        )

    def _send(self, pushed: Pushed) -> None:
        made = self._there(["mktemp", "-d", "-t", "pocketportrait.XXXXXXXXXX"], SHORT_S)
        folder = made.out.strip()
        if made.status != 0 or not REMOTE.fullmatch(folder):
            raise TargetError(f"{self.name}: want a temporary folder, got: {_last(made)}")
        pushed.remote = folder
        names = sorted(path for path in pushed.folder.iterdir())
        self._copy([*map(str, names), f"{self._host}:{folder}/"])

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        remote = pushed.remote
        ran = self._there([self._python, f"{remote}/{ARCHIVE}", remote], timeout_s)
        pushed.said = ran.said

    def _fetch(self, pushed: Pushed) -> None:
        listed = self._there(["ls", "-1", pushed.remote], SHORT_S)
        there = [name for name in BACK if name in listed.out.split()]
        if there:
            sources = [f"{self._host}:{pushed.remote}/{name}" for name in there]
            self._copy([*sources, f"{pushed.folder}/"])

    def _remove(self, pushed: Pushed) -> None:
        if REMOTE.fullmatch(pushed.remote):
            try:
                self._there(["rm", "-rf", "--", pushed.remote], SHORT_S)
            except TargetError:
                return  # it vanished; its temporary folder goes with it

    def _there(self, command: list[str], timeout_s: float) -> Ran:
        """Run a command on the host.

        Raises:
            TargetError: the host cannot be reached, or it took too long.

        """
        arguments = ["ssh", *self._options(), "--", self._host, shlex.join(command)]
        return self._ran(arguments, timeout_s)

    def _copy(self, paths: list[str]) -> None:
        ran = self._ran(["scp", "-q", "-r", *self._options(), "--", *paths], SHORT_S * 10)
        if ran.status != 0:
            raise TargetError(f"{self.name}: the copy failed: {_last(ran)}")

    def _ran(self, arguments: list[str], timeout_s: float) -> Ran:
        try:
            ran = run_command(arguments, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise too_slow(self.name, timeout_s) from error
        if ran.status == BROKEN:
            raise TargetError(f"{self.name}: is not reachable: {_last(ran)}")
        return ran

    def _options(self) -> list[str]:
        return [*OPTIONS, *(["-F", str(self._config)] if self._config else [])]


def _last(ran: Ran) -> str:
    lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
    return lines[-1] if lines else f"nothing, status {ran.status}"
