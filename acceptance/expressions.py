"""Sheets of expressions: what held-out faces do, and what a stranger's photo makes of it.

    python acceptance/expressions.py [--out DIR] [--bundle B] [--data DIR]

For every expression the held-out frames that show it most are found by measuring all footage. A sheet
has the clip's calmest frame as the photo, six of its frames up to the peak, and below them that photo and
another person's performing them. `style.png` has paintings and drawings. Measured figures of the peaks
are in figures.json; there is no gate: the sheets are made to be looked at. MediaPipe measures no cheek
puff (its figure is 0 always) and no tongue: no puff was found, and a tongue in a training clip alone, by eye.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lossless import write_clip
from PIL import Image, ImageDraw
from score_environment import ROOT
from self_reenactment import SHARED, default_bundle
from slices import measure

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.media.photo import write_picture
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait_actors import ModelActor
from pocketportrait.validation.portrait_clips import Clip, HeldOut, frames_of

STEPS = 6  # frames of a sheet, evenly up to the peak
BEFORE = 12  # frames from the first shown to the peak
CLIPS = 2  # clips a sheet, of different people
TONGUE = "tongue, a training clip"  # found by eye
TONGUE_CLIP, TONGUE_OUT, TONGUE_IN = "train/clips/a969bbbfbc3c.mp4", 75, 21  # frames
HIDDEN = ("bb3a783fb53d",)  # its calmest frame is seen past somebody's shoulder
DEGREES = 10.0  # of head pose that count as much as one blendshape at its full
AVOIDED = 6.0  # times as much counts the expression that a sheet is about
Reading = Callable[[Array, Array], float]  # blendshapes [52], pose [3] in degrees


def mean(*places: int) -> Reading:
    """Return a reading of the mean of blendshapes."""
    return lambda blend, pose: float(blend[list(places)].mean())


def least(*places: int) -> Reading:
    """Return a reading of the smallest of blendshapes."""
    return lambda blend, pose: float(blend[list(places)].min())


# MediaPipe's places of blendshapes
EXPRESSIONS: dict[str, Reading] = {
    "mouth wide open": mean(25),
    "smile with teeth": lambda blend, pose: float(blend[[44, 45]].mean() * min(1, blend[25] * 20)),
    "pout": mean(38),
    "brow raise": mean(3, 4, 5),
    "frown": mean(1, 2),
    "eyes closed": least(9, 10),
    "wink": lambda blend, pose: float(abs(blend[9] - blend[10])),
    "gaze left": mean(14, 15),
    "gaze right": mean(13, 16),
    "yaw, one way": lambda blend, pose: float(pose[0]),
    "yaw, the other way": lambda blend, pose: float(-pose[0]),
    "roll, one way": lambda blend, pose: float(pose[2]),
    "roll, the other way": lambda blend, pose: float(-pose[2]),
}


@dataclass(frozen=True, slots=True)
class Peak:
    """The frame of a clip that shows an expression most."""

    clip: Clip
    frame: int
    value: float
    calm: int  # the frame that shows it least, and is calm otherwise


def calmest(rows: Sequence[Any], reading: Reading = lambda blend, pose: 0.0) -> int:
    """Return the frame whose face looks straight ahead at rest, with least of `reading`."""

    def unrest(row: Any) -> float:
        blend, pose = np.array(row["blend"]), np.array(row["pose"])
        shown = min(max(reading(blend, pose), 0), 1)
        return float(np.abs(pose).sum() + DEGREES * (blend[1:].sum() + AVOIDED * shown))

    seen = [(unrest(row), k) for k, row in enumerate(rows) if row]
    return min(seen)[1] if seen else 0


def peaks(clips: Sequence[Clip], faces: Any, reading: Reading) -> list[Peak]:
    """Return the strongest peaks, each of another person, strongest first."""
    found = []
    for clip, rows in zip(clips, faces, strict=True):
        seen = [
            (reading(np.array(r["blend"]), np.array(r["pose"])), k) for k, r in enumerate(rows) if r
        ]
        if seen:
            value, frame = max(seen)
            found.append(Peak(clip, frame, value, calmest(rows, reading)))
    found.sort(key=lambda peak: -peak.value)
    chosen: list[Peak] = []
    for peak in found:
        if all(peak.clip.identity != other.clip.identity for other in chosen):
            chosen.append(peak)
    return chosen[:CLIPS]


def perform(actor: ModelActor, photo: Array, start: Array, frames: Sequence[Array]) -> list[Array]:
    """Draw a photo as it performs frames of a clip that begins with `start`."""
    actor.start(photo)
    actor.step(start)
    return [actor.step(frame) for frame in frames]


def caption(width: int, text: str) -> Array:
    """Return a bar of text."""
    bar = Image.new("RGB", (width, 16), "white")
    ImageDraw.Draw(bar).text((3, 2), text, fill="black")
    return np.asarray(bar)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "expressions")
    parser.add_argument("--bundle", type=Path, help="a bundle with onnx/fp32; exported by default")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    options = parser.parse_args()
    footage = HeldOut.read(options.data, origin="footage").clips
    clips = [clip for clip in footage if clip.name not in HIDDEN]
    faces = measure(options.scorer, [clip.path for clip in clips])
    chosen = {name: peaks(clips, faces, reading) for name, reading in EXPRESSIONS.items()}
    tongue = Clip(Path(TONGUE_CLIP).stem, options.data / TONGUE_CLIP)
    chosen[TONGUE] = [Peak(tongue, TONGUE_OUT, 1.0, TONGUE_IN)]  # out is 1; its jaw is measured
    with (
        Bundle.open(options.bundle or default_bundle(options.out / "bundle")) as bundle,
        Session.open(bundle, format="onnx", precision="fp32") as session,
    ):
        calm = {clip.name: calmest(rows) for clip, rows in zip(clips, faces, strict=True)}
        studio = Studio(ModelActor(session), clips, calm, options.scorer, options.out)
        figures = {name: studio.sheet(name, found) for name, found in chosen.items()}
        studio.style(art_of(options.data), chosen["mouth wide open"] + chosen["yaw, one way"])
    atomic.write_bytes(options.out / "figures.json", json.dumps(figures, indent=2).encode() + b"\n")
    return 0


def art_of(data: Path) -> list[Path]:
    """Return the held-out paintings and drawings."""
    photos = json.loads((data / "manifest.json").read_text())["photos"]
    return [data / p["file"] for p in photos if (p["split"], p["style"]) == ("val", "art")]


class Studio:
    """Draws sheets with one session."""

    def __init__(
        self,
        actor: ModelActor,
        clips: Sequence[Clip],
        calm: Mapping[str, int],
        scorer: Path,
        out: Path,
    ) -> None:
        self.actor, self.clips, self.calm, self.scorer, self.out = actor, clips, calm, scorer, out

    def photo_of(self, clip: Clip) -> Array:
        """Return the calmest frame."""
        return next(itertools.islice(frames_of(clip.path), self.calm[clip.name], None))

    def sheet(self, name: str, found: Sequence[Peak]) -> list[dict[str, Any]]:
        """Write one expression's sheet; return its peaks as measured in driver and outputs."""
        rows: list[Array] = []
        drawn: list[Array] = []
        for peak in found:
            frames = list(frames_of(peak.clip.path))
            photo = frames[peak.calm]
            start = self.clips.index(peak.clip) if peak.clip in self.clips else 0
            others = (*self.clips[start:], *self.clips)
            stranger = next(c for c in others if c.identity != peak.clip.identity)
            places = np.linspace(max(0, peak.frame - BEFORE), peak.frame, STEPS).round()
            shown = [frames[int(k)] for k in places]
            theirs = self.photo_of(stranger)
            own, other = (perform(self.actor, p, photo, shown) for p in (photo, theirs))
            drawn += [own[-1], other[-1]]
            width = photo.shape[1] * (STEPS + 1)
            rows.append(caption(width, f"{name}: {peak.clip.name}, {peak.value:.2f} at the right"))
            for first, line in ((photo, shown), (photo, own), (theirs, other)):
                rows.append(np.concatenate([first, *line], 1))
        write_picture(
            self.out / f"{name.replace(', ', '-').replace(' ', '-')}.png", np.concatenate(rows)
        )
        file = self.out / "peaks.mkv"
        write_clip(file, drawn)
        (faces,) = measure(self.scorer, [file])
        file.unlink()
        reading = EXPRESSIONS.get(name, mean(25))
        values = [f and reading(np.array(f["blend"]), np.array(f["pose"])) for f in faces]
        return [
            {"clip": p.clip.name, "driver": p.value, "own photo": a, "stranger": b}
            for p, a, b in zip(found, values[::2], values[1::2], strict=True)
        ]

    def style(self, art: Sequence[Path], found: Sequence[Peak]) -> None:
        """Write a sheet of paintings and drawings that perform the peaks."""
        rows = []
        for peak in found:
            frames = list(frames_of(peak.clip.path))
            start, peaked = frames[peak.calm], frames[peak.frame]
            photos = [Clip(path.stem, path).first_frame() for path in art]
            drawn = [perform(self.actor, photo, start, [peaked])[-1] for photo in photos]
            rows += [np.concatenate([start, *photos], 1), np.concatenate([peaked, *drawn], 1)]
        write_picture(self.out / "style.png", np.concatenate(rows))


if __name__ == "__main__":
    sys.exit(main())
