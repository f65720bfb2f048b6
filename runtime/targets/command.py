"""Commands of other programs, run to their end, with what they said."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.errors import MissingToolError

KEPT_CHARACTERS = 4000


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
        done = subprocess.run(
            [str(a) for a in arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env=None if environment is None else dict(environment),
            cwd=folder,
            check=False,
        )
    except FileNotFoundError as error:
        raise MissingToolError(
            f"{arguments[0]}: want this program, got none of the name"
        ) from error
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Ran(done.returncode, out, (out + "\n" + err)[-KEPT_CHARACTERS:])
