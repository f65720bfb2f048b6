"""Where the mark's search stands: what a clip gives at the true place, and what the search makes of it.

    python acceptance/mark_search.py --clips CLIPS --windows NAME:FIRST[m] ...

Windows are named as in `mark_robustness.py`'s record. Both attacks move the tile, to a place that is known
here: the waves' deviations there, by how fine they are, then the best place of the search's first step,
before it is refined, and what `inspect` says in the end, with its seconds of CPU; those of the clip
without a mark, too.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from mark_attacks import ATTACKS
from mark_robustness import BUNDLE, spread, windows_of

from pocketportrait.contract import Array
from pocketportrait.mark import PUBLIC_KEY, detect, field_of_side, mark_picture
from pocketportrait.mark.pattern import HIGHEST, TILE_PX, waves_of
from pocketportrait.mark.reading import Place, deviations_of, read_waves
from pocketportrait.mark.residual import residual_of
from pocketportrait.mark.search import COARSE, Search

BANDS = (34, COARSE, HIGHEST)  # waves a tile, at most
SHOWN = round(TILE_PX * 1.37)
TRUE_PLACES = {  # frames of 256 px, one tile: `cropped` takes 0.7 of its share above, 0.2 left
    "cropped 20 %": Place(-round(TILE_PX * 0.14), -round(TILE_PX * 0.04), 1, 1),
    "screenshot": Place(
        -round(SHOWN * 0.035), -round(SHOWN * 0.01), SHOWN / TILE_PX, SHOWN / TILE_PX
    ),
}


def main() -> int:
    """Print a line for each window and attack."""
    arguments = _arguments()
    paths = sorted(p for folder in arguments.clips for p in folder.rglob("*.mp4"))
    chosen = [w for w in windows_of(paths) if w.name in arguments.windows]
    if len(chosen) < len(arguments.windows):
        print(f"want {arguments.windows}, got {[w.name for w in chosen]}", file=sys.stderr)
        return 2
    bands = ", ".join(f"to {highest}" for highest in BANDS)
    print(f"| window, attack | true place: {bands} | first step: best, px off | found | CPU s |")
    print("|---|---|---|---|---|")
    for window in chosen:
        frames = window.frames()
        field = field_of_side(BUNDLE, frames[0].shape[0])
        marked = [mark_picture(frame, field) for frame in frames]
        for attack, place in TRUE_PLACES.items():
            print(_line(f"{window.name}, {attack}", spread(ATTACKS[attack](marked)), place))
        said, seconds = _inspected(spread(frames))
        print(f"| {window.name}, unmarked | - | - | {said} | {seconds:.2f} |")
    return 0


def _line(name: str, frames: list[Array], true: Place) -> str:
    residual, _ = residual_of(frames)
    waves = waves_of(PUBLIC_KEY)
    read, radius = read_waves(residual, waves, true), np.hypot(waves.down, waves.across)
    bands = [deviations_of(read[waves.is_beacon & (radius <= highest)]) for highest in BANDS]
    fit = Search(residual).best(PUBLIC_KEY)
    off = np.hypot(fit.place.top - true.top, fit.place.left - true.left)
    said, seconds = _inspected(frames)
    figures = ", ".join(f"{band:.1f}" for band in bands)
    return f"| {name} | {figures} | {fit.deviations:.2f}, {off:.0f} | {said} | {seconds:.2f} |"


def _inspected(frames: list[Array]) -> tuple[str, float]:
    start = time.process_time()
    found = detect(frames)
    return f"{found.deviations:.1f}" if found.found else "no", time.process_time() - start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=Path, nargs="+", required=True, help="folders, 256x256")
    parser.add_argument("--windows", nargs="+", required=True, help="such as 914e09f9751f:0")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
