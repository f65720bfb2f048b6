"""Commands of other programs, run to their end, with what they said."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import MissingToolError

KEPT_CHARACTERS = 4000
_running: set[subprocess.Popen[bytes]] = set()
_one_changes = threading.Lock()


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended."""

    status: int
    out: str
    said: str  # the end of what it printed, errors last

    @property
    def died_of(self) -> str:
        """Return the name of the signal that ended it, or nothing."""
        number = -self.status if self.status < 0 else self.status - 128
        if number <= 0 or number not in set(signal.Signals):
            return ""
        return signal.Signals(number).name


def run_command(
    arguments: Sequence[str | Path],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Ran:
    """Run a command without a shell and without input.

    Args:
        arguments: the program and what it is given.
        timeout_s: after this it is killed.
        environment: all of it; None passes on this process's.
        folder: where it runs.

    Raises:
        MissingToolError: there is no such program.
        subprocess.TimeoutExpired: it took too long, and was killed.

    """
    try:
        process = subprocess.Popen(
            [str(a) for a in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            f"{arguments[0]}: want this program, got none of the name"
        ) from error
    with _ended_with_us(process):
        output = process.communicate(timeout=timeout_s)
    out, err = (text.decode(errors="replace") for text in output)
    return Ran(process.returncode, out, (out + "\n" + err)[-KEPT_CHARACTERS:])


def end_commands() -> None:
    """Kill every command that still runs, whoever waits for it: nothing may outlive what asked for it."""
    with _one_changes:
        for process in _running:
            process.kill()


@contextlib.contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let `end_commands` reach a process, and leave none behind."""
    with _one_changes:
        _running.add(process)
    try:
        with process:
            try:
                yield
            except BaseException:
                process.kill()
                raise
    finally:
        with _one_changes:
            _running.discard(process)
