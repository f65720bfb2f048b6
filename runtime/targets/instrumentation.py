"""What `am instrument -r` prints, read strictly.

The lines are those of Android's source (cmds/am, Instrument.java); none was recorded on a phone. A key may
come once, so that a text which holds such a line cannot speak for the program. What is no such line goes on
with the value before it: an error has several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

ENDED_WELL = -1  # Activity.RESULT_OK
LINE = re.compile(r"INSTRUMENTATION_(RESULT|STATUS|STATUS_CODE|CODE): ?(.*)")
FAILURE = re.compile(r"INSTRUMENTATION_(FAILED|ABORTED): ?(.*)")  # an exception's name is before it
FRAMEWORK_ERROR = "Error"  # the key under which the framework says why nothing was started


@dataclass(frozen=True)
class Instrumented:
    """How an instrumentation ended, as far as the device told."""

    code: int | None = None  # None: it never came to an end
    results: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""  # what the framework says against it

    @property
    def complaint(self) -> str:
        """Return why there are no results to believe, or nothing."""
        crash = self.results.get("longMsg") or self.results.get("shortMsg")
        if said := crash or self.failure or self.results.get("error"):
            return " ".join(said.split())
        if self.code is None:
            return "it never came to an end"
        return "" if self.code == ENDED_WELL else f"it ended with code {self.code}"


def read_instrumentation(text: str, errors: str = "") -> Instrumented:
    """Read what the device printed.

    Args:
        text: standard output.
        errors: the end of everything, where the framework's exceptions are looked for too.

    Raises:
        ValueError: a result comes twice, or the code is no number.

    """
    results: dict[str, str] = {}
    status: dict[str, str] = {}
    codes: list[int] = []
    last: tuple[dict[str, str], str] | None = None
    for line in text.splitlines():
        if match := LINE.match(line):
            last = _take(match[1], match[2], results, status, codes)
        elif last is not None:
            last[0][last[1]] += f"\n{line}"
    found = FAILURE.search(text) or FAILURE.search(errors)
    failure = status.get(FRAMEWORK_ERROR) or (f"{found[1].lower()}: {found[2]}" if found else "")
    return Instrumented(codes[0] if codes else None, results, failure)


def _take(
    kind: str, rest: str, results: dict[str, str], status: dict[str, str], codes: list[int]
) -> tuple[dict[str, str], str] | None:
    """Take one line; returns where lines that follow it go on."""
    name, _, value = rest.partition("=")
    if kind == "CODE":
        codes.append(int(rest))
        if len(codes) > 1:
            raise ValueError("the closing code came twice")
    elif kind == "STATUS":
        status[name] = value
        return status, name
    elif kind == "RESULT":
        if name in results:
            raise ValueError(f"{name} came twice")
        results[name] = value
        return results, name
    return None
