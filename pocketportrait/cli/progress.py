"""How long work shows that it goes on: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PLAIN_STEPS = 10  # lines that a counted job prints where there is no terminal


@contextlib.contextmanager
def stages(title: str) -> Iterator[Callable[[str], None]]:
    """Give a function that is told the name of each stage of a job as it begins."""
    if not sys.stderr.isatty():
        yield lambda stage: _line(f"{title}: {stage}")
        return
    from rich.console import Console

    with Console(stderr=True).status(title) as status:
        yield lambda stage: status.update(f"{title}: {stage}")


@contextlib.contextmanager
def counted(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that is told how much is done, and of how much if that is known."""
    if not sys.stderr.isatty():
        yield _plain_counter(title)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def line_of_log(line: Mapping[str, Any]) -> str:
    """Return a line of a training log as text: names and values, four digits."""
    return "  ".join(
        f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()
    )


def _plain_counter(title: str) -> Callable[[int, int | None], None]:
    said = -1

    def tell(done: int, total: int | None) -> None:
        nonlocal said
        step = done * PLAIN_STEPS // total if total else done // 100
        if step != said:
            said = step
            _line(f"{title}: {done}" + (f" of {total}" if total else ""))

    return tell


def _line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
