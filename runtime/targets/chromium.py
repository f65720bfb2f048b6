"""A headless Chromium, told what to do over its own pipe (`--remote-debugging-pipe`): no driver, no port.

The protocol is DevTools' (https://chromedevtools.github.io/devtools-protocol): JSON that ends in a zero byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.targets.place import library_folders
from pocketportrait.runtime.targets.protocol import TargetError

VARIABLE = "POCKETPORTRAIT_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell")
APPLICATIONS = (  # where macOS has them
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
UNPACKED = "chromium"  # of the target's folder: Debian's package, unpacked
PROGRAM = Path("usr") / "lib" / "chromium" / "chromium"
FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
    "--mute-audio",
    "--disable-quic",
    "--disable-sync",
    "--metrics-recording-only",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing but this machine
    "--remote-debugging-pipe",
)
START_S = 120.0
END_S = 20.0
# Chromium reads descriptor 3 and writes 4; a function between fork and exec is not safe beside threads
PLACE = """\
import os, sys
os.dup2(int(sys.argv[1]), 100, inheritable=False), os.dup2(int(sys.argv[2]), 101, inheritable=False)
os.dup2(100, 3), os.dup2(101, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
COMPLAINTS = ("warning", "error", "assert")


def find_chromium(home: Path) -> Path | None:
    """Return the browser: of `POCKETPORTRAIT_CHROMIUM`, of the system, or unpacked in the target's folder."""
    if named := os.environ.get(VARIABLE):
        found = shutil.which(named)
        return Path(found) if found else None
    for name in (*NAMES, *APPLICATIONS):
        if found := shutil.which(name):
            return Path(found)
    unpacked = home / UNPACKED / PROGRAM
    return unpacked if unpacked.is_file() else None


class Chromium:
    """A browser with a profile of its own, which ends with it; one page at a time."""

    def __init__(self, program: Path, flags: Sequence[str] = ()) -> None:
        """Remember what to start; entering starts it.

        Args:
            program: as `find_chromium` gives it.
            flags: more of them.

        """
        self._command = [str(program), *FLAGS, *flags]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            self._command.append("--no-sandbox")  # it refuses to start as root with one
        self._environment = dict(os.environ)
        if UNPACKED in program.parts[: -len(PROGRAM.parts)]:
            libraries = library_folders(program.parents[1])
            known = [p for p in (*libraries, os.environ.get("LD_LIBRARY_PATH")) if p]
            self._environment["LD_LIBRARY_PATH"] = os.pathsep.join(known)
        self.complaints: list[str] = []  # warnings, errors and exceptions of the page
        self.asked: list[str] = []  # addresses that were requested
        self.version = ""

    def __enter__(self) -> Self:
        """Start it with an empty profile.

        Raises:
            MissingToolError: this system has no such pipes.
            TargetError: it does not start.

        """
        if sys.platform == "win32":
            raise MissingToolError(
                "browser: want Linux or macOS, where Chromium is told over pipes"
            )
        self._number, self._rest, self._session = 0, b"", ""
        self._crashed = False
        self._profile = tempfile.mkdtemp(prefix="pocketportrait-browser-")
        child_in, self._commands = os.pipe()
        self._answers, child_out = os.pipe()
        start = [sys.executable, "-I", "-c", PLACE, str(child_in), str(child_out), *self._command]
        with Path(self._profile, "said").open("wb") as said:
            self._process = subprocess.Popen(
                [*start, f"--user-data-dir={self._profile}"],
                pass_fds=(child_in, child_out),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment,
                start_new_session=True,
            )
        os.close(child_in)
        os.close(child_out)
        try:
            self.version = str(self.tell("Browser.getVersion", START_S)["product"])
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and remove its profile."""
        self._end()

    def open(self, url: str) -> None:
        """Show a page in a new tab and wait until it is loaded.

        Raises:
            TargetError: it does not load.

        """
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "Inspector"):
            self.tell(f"{domain}.enable")
        gone = self.tell("Page.navigate", url=url).get("errorText")
        if gone:
            raise TargetError(f"browser: {url}: {gone}")
        self.value(
            "new Promise(done => document.readyState === 'complete' ? done(1)"
            " : addEventListener('load', () => done(1)))",
            START_S,
        )

    def value(self, expression: str, timeout_s: float = START_S) -> Any:
        """Return what an expression of JavaScript gives; promises are awaited.

        Raises:
            TargetError: it throws, the page or browser dies, or it takes too long.

        """
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.tell("Runtime.evaluate", timeout_s, **asked)
        if "exceptionDetails" in answer:
            raise TargetError(f"browser: {_thrown(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def tell(self, method: str, timeout_s: float = START_S, **parameters: object) -> dict[str, Any]:
        """Give one command of the protocol and return its result; events on the way are kept.

        Raises:
            TargetError: it is refused, the browser dies, or it takes too long.

        """
        self._number += 1
        command: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        deadline = time.monotonic() + timeout_s
        try:
            os.write(self._commands, json.dumps(command).encode() + b"\0")
        except BrokenPipeError as error:
            raise self._died() from error
        while True:
            message = self._next(deadline, timeout_s)
            if message.get("id") == self._number:
                if "error" in message:
                    raise TargetError(f"browser: {method}: {message['error'].get('message')}")
                return dict(message["result"])
            self._note(str(message.get("method")), message.get("params", {}))
            if self._crashed:
                raise TargetError("browser: the page died; it may need more memory than there is")

    def _next(self, deadline: float, timeout_s: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select(
                [self._answers], [], [], max(0, deadline - time.monotonic())
            )
            if not ready:
                raise TargetError(
                    f"browser: want an answer within {timeout_s:.0f} s, got none; it was stopped"
                )
            read = os.read(self._answers, 1 << 20)
            if not read:
                raise self._died()
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Inspector.targetCrashed":
            self._crashed = True
        elif method == "Network.requestWillBeSent":
            self.asked.append(str(facts["request"]["url"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(_thrown(facts["exceptionDetails"]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] in COMPLAINTS:
            self.complaints.append(f"{facts['entry']['text']} {facts['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and facts["type"] in COMPLAINTS:
            words = [str(a.get("value", a.get("description", ""))) for a in facts["args"]]
            self.complaints.append(" ".join(words))

    def _died(self) -> TargetError:
        said = Path(self._profile, "said").read_text(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return TargetError(f"browser: Chromium ended: {' | '.join(lines[-3:]) or 'said nothing'}")

    def _end(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            os.write(self._commands, b'{"id": 0, "method": "Browser.close"}\0')
        os.close(self._commands)
        os.close(self._answers)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


def _thrown(details: dict[str, Any]) -> str:
    said = details.get("exception", {}).get("description") or details.get("text", "")
    return str(said).splitlines()[0] if said else "an exception"
