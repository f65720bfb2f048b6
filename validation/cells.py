"""All cells of a matrix: engines of this process one after the other, other targets side by side.

An emulated CPU is one thread of one process, so that a machine with two cores needs half the time.
Nothing is timed here; what is counted in instructions does not notice its neighbours.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from pocketportrait.runtime.targets.command import end_commands
from pocketportrait.runtime.targets.folder_target import FolderTarget
from pocketportrait.validation.checks import Check
from pocketportrait.validation.replay import Cell, Devices, Home, replay
from pocketportrait.validation.samples import Sample

Tell = Callable[[Cell], None]


def replay_all(
    cells: Sequence[Cell], fresh: Sequence[Sample], devices: Devices, home: Home, tell: Tell
) -> Iterator[Check]:
    """Yield the checks of every cell, in the order of the cells.

    Args:
        cells: what runs where.
        fresh: samples beside the golden ones.
        devices: told what each target turned out to be.
        home: told what files give here, and asked for it.
        tell: called with each cell before it runs, one at a time.

    """
    found: dict[int, list[Check]] = {}
    one_speaks, broken_off = threading.Lock(), threading.Event()

    def run(numbers: Sequence[int]) -> None:
        for number in numbers:
            if broken_off.is_set():
                return
            with one_speaks:
                tell(cells[number])
            found[number] = []
            for check in replay(cells[number], fresh, devices, home):
                if broken_off.is_set():
                    return
                found[number].append(check)

    elsewhere: dict[str, list[int]] = {}  # a target takes one job at a time
    here: list[int] = []
    for number, cell in enumerate(cells):
        outside = isinstance(cell.target, FolderTarget)
        (elsewhere.setdefault(cell.target.name, []) if outside else here).append(number)
    run(here)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as workers:
        jobs = [workers.submit(run, numbers) for numbers in elsewhere.values()]
        try:
            for done in jobs:
                done.result()
        except BaseException:  # Ctrl-C, or a fault of ours: nothing goes on behind our back
            broken_off.set()
            while wait(jobs, timeout=0.1).not_done:  # one may be about to begin its command
                end_commands()
            raise
    for number in range(len(cells)):
        yield from found[number]
