"""Soak: a long clip and many requests leave memory, file handles and processes as they were.

    python acceptance/soak.py [--minutes 10] [--requests 1000] [--out DIR]

A clip of so many minutes, small and written as it is needed, goes through `animate` in this process; then
the page's server answers. After a warm-up of a tenth the memory may grow by 5 %. Exit 1 if it grows
more, or if a handle or a process is left. Linux, which tells all of it in /proc.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MOST_GROWTH = 0.05
WARM_UP = 0.1  # of all steps
RATE_HZ = 25
SIDE_PX = 64  # of the clip


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    resident_bytes: int
    handles: int
    children: int

    @classmethod
    def now(cls) -> Footprint:
        """Read it of this process; what only waits for collection is collected first."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (its own handle is counted each time)
        return cls(pages * os.sysconf("SC_PAGESIZE"), handles, len(children))


class Watch:
    """Remembers the footprint behind the warm-up and the largest one since."""

    def __init__(self, total: int) -> None:
        self.total, self.first, self.largest = total, 0, 0

    def tell(self, done: int) -> None:
        """Look about a hundred times."""
        if done % max(1, self.total // 100) == 0 and done >= WARM_UP * self.total:
            now = Footprint.now().resident_bytes
            self.first = self.first or now
            self.largest = max(self.largest, now)

    @property
    def growth(self) -> float:
        """Return the share by which memory grew."""
        return self.largest / self.first - 1 if self.first else float("nan")


def write_clip(path: Path, frames: int) -> None:
    """Write a clip whose pictures move, frame by frame."""
    from pocketportrait.media.video import VideoWriter

    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    with VideoWriter(path, (SIDE_PX, SIDE_PX)) as writer:
        for index in range(frames):
            wave = 128 + 90 * np.sin((x + y) / 9 + index / 7)
            writer.write(np.repeat(wave[..., None], 3, axis=2).astype(np.uint8))


def animate_clip(out: Path, minutes: float, watch: Callable[[int], Watch]) -> Watch:
    """Animate a long clip; the tiny student keeps it quick, the way is the same."""
    from chaos_inputs import make_inputs

    from pocketportrait.runtime.animation import AnimationOptions, animate

    made = make_inputs(out / "inputs")
    frames = max(1, round(minutes * 60 * RATE_HZ))
    clip = out / f"clip-{frames}.mp4"
    if not clip.exists():
        write_clip(clip, frames)
    seen = watch(frames)
    options = AnimationOptions(bundle=Path(made.bundle), crop=False, threads=1)
    animate(
        Path(made.photo), clip, out / "film.mp4", options, progress=lambda done, _: seen.tell(done)
    )
    return seen


def ask_server(requests: int, watch: Callable[[int], Watch]) -> Watch:
    """Ask the page's server for its files, one after the other, again and again."""
    from pocketportrait.runtime.web.server import LocalServer, page_folder

    seen = watch(requests)
    paths = [f"/page/{file.name}" for file in sorted(page_folder().iterdir()) if file.is_file()]
    with LocalServer({}) as server:
        for done, path in zip(range(1, requests + 1), _again(paths), strict=False):
            with urllib.request.urlopen(f"{server.origin}{path}", timeout=60) as answer:
                assert answer.status == 200
                answer.read()
            seen.tell(done)
    return seen


def _again(names: list[str]) -> Iterator[str]:
    while True:
        yield from names


def report(name: str, before: Footprint, seen: Watch) -> bool:
    """Print one line; return whether all is as it was."""
    after = Footprint.now()
    good = (
        seen.growth <= MOST_GROWTH
        and after.handles <= before.handles
        and after.children == before.children
    )
    print(
        f"{'PASS' if good else 'FAIL'}  {name}: {seen.total} steps, {seen.growth:+.1%} memory behind"
        f" the warm-up ({seen.largest / 1e6:.0f} MB), handles {before.handles} -> {after.handles},"
        f" processes {before.children} -> {after.children}",
        flush=True,
    )
    return good


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "soak")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # a first, short turn loads what stays loaded: engines and their threads hold handles, too
    animate_clip(options.out, 2 / 60, Watch)
    ask_server(3, Watch)
    before = Footprint.now()
    good = report("animate", before, animate_clip(options.out, options.minutes, Watch))
    return int(not (report("page", before, ask_server(options.requests, Watch)) and good))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
