"""Which expressions strangers' photos get wrong: the errors of blendshapes by what they move.

    python acceptance/strangers.py [--scored DIR] [--out DIR] [--data DIR] [--count N] [--frames N]

Draws the first pairs of acceptance/convincing.py (another person's photo, a driver whose head moves) through
the bundle of --scored, and measures drivers, outputs and photos with the reference scorer's landmarker.
Told is AED as the scorer tells it across people: the sum over blendshapes of how far the output's change
since the first frame is from the driver's, as ratio to a photo that does nothing; how large the output's
changes are, as ratio to the driver's; and the error if they were half as large. By groups, and beside it
the same of the drivers' own photos (what acceptance/self_reenactment.py drew). Writes figures.json. There
is no gate: that is acceptance/convincing.py's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lossless import write_clip
from score_environment import ROOT
from self_reenactment import SHARED, scored_rows, with_moving_heads
from slices import measure

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait_actors import ModelActor
from pocketportrait.validation.portrait_clips import Clip, HeldOut, choose_pairs

# of MediaPipe's 52
GROUPS = {
    "gaze": range(11, 19),
    "lids": (9, 10, 19, 20, 21, 22),
    "brows": range(1, 6),
    "jaw": range(23, 27),
    "mouth": range(27, 50),
    "all": range(52),
}
STRIDE = 2  # frames, as the scorer
MEASURES = ("error", "size", "halved")
Faces = Sequence[dict[str, Any] | None]
Errors = dict[str, Array]


def errors(outputs: Faces, drivers: Faces) -> Errors | None:
    """Return, as means [52] over frames, MEASURES and the driver's own changes (`still`)."""
    pairs = [(a, b) for a, b in zip(outputs[::STRIDE], drivers[::STRIDE], strict=False) if a and b]
    if not pairs:
        return None
    made, wanted = (
        np.array([face["blend"] for face in faces]) for faces in zip(*pairs, strict=True)
    )
    made, wanted = made - made[0], wanted - wanted[0]
    found = {"error": made - wanted, "size": made, "halved": made / 2 - wanted, "still": wanted}
    return {name: np.abs(value).mean(0) for name, value in found.items()}


def drawn(
    bundle: Path, pairs: Sequence[tuple[Clip, Clip]], folder: Path, frames: int
) -> Iterator[Path]:
    """Draw every pair and yield its clip."""
    with Bundle.open(bundle) as opened, Session.open(opened, "onnx", "fp32") as session:
        actor = ModelActor(session)
        for driver, person in pairs:
            out = folder / f"{driver.name}-{person.name}.mkv"
            performed = actor.perform(person.first_frame(), driver, frames)
            write_clip(out, (output for output, _ in performed))
            yield out


def ratios(found: Sequence[Errors | None]) -> dict[str, dict[str, float]]:
    """Return, by measure and group, means over clips as ratios to the driver's own changes."""
    mean = {
        name: np.mean([one[name] for one in found if one], axis=0) for name in (*MEASURES, "still")
    }
    return {
        measure: {
            group: float(mean[measure][list(part)].sum() / mean["still"][list(part)].sum())
            for group, part in GROUPS.items()
        }
        for measure in MEASURES
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scored", type=Path, default=ROOT / "out" / "acceptance")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "strangers")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    scored = scored_rows(options.scored)
    held_out = HeldOut.read(options.data, origin="footage")
    drivers = with_moving_heads([c for c in held_out.clips if c.name in scored], scored)
    pairs = choose_pairs(drivers, held_out.photos or held_out.clips, options.count)
    paths = {driver.name: driver.path for driver, _ in pairs}
    names, driving = list(paths), list(paths.values())
    own = [options.scored / "clips" / f"{name}.mkv" for name in names]
    strangers = list(drawn(options.scored / "bundle", pairs, options.out / "clips", options.frames))
    measured = measure(options.scorer, [*driving, *own, *strangers])
    faces = dict(zip([*driving, *own, *strangers], measured, strict=True))
    found = {
        "strangers": [
            errors(faces[out], faces[driver.path])
            for out, (driver, _) in zip(strangers, pairs, strict=True)
        ],
        "own photo": [
            errors(faces[out], faces[clip]) for out, clip in zip(own, driving, strict=True)
        ],
    }
    figures = {name: ratios(rows) for name, rows in found.items()}
    still = np.mean([one["still"] for one in found["strangers"] if one], axis=0)
    share = {name: float(still[list(p)].sum() / still.sum()) for name, p in GROUPS.items()}
    print(f"{len(pairs)} pairs, {len(names)} drivers; ratios to the drivers' changes")
    columns = [(name, measure) for name in figures for measure in MEASURES]
    print(f"{'':8}{'share':>8}" + "".join(f"{' '.join(column):>20}" for column in columns))
    for group in GROUPS:
        told = "".join(f"{figures[name][measure][group]:20.3f}" for name, measure in columns)
        print(f"{group:8}{share[group]:8.3f}{told}")
    record = figures | {"share": share, "pairs": len(pairs)}
    atomic.write_bytes(options.out / "figures.json", json.dumps(record, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main()
