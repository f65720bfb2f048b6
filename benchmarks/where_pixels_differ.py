"""Where a drawn clip's pixels differ from the driver's: in the face, around it, or in what is no head.

    python benchmarks/where_pixels_differ.py DRAWN DATA --labels DIR [--out FIGURES.json]

DRAWN is the folder `clips` that acceptance/self_reenactment.py --out writes, DATA has the clips, and the
labels are those of `pocketportrait label`. Every labelled frame is divided into the face (the hull of its
landmarks and of the photo's), the head around it (that hull, RING times as large) and the rest. For each the
table says what part of all of "repeat the photo"'s L1 lies there, and the ratio to it of two pictures: the
student's, and the photo moved by the dense optical flow from the wanted frame to it (DIS, Kroeger et al.,
ECCV 2016, arXiv:1603.03590), which has seen the answer: what warping alone can reach. Sums are over all
frames of all clips, so the ratio of `all` is not the mean of the clips' ratios that the scorer tells.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pocketportrait import atomic
from pocketportrait.contract import Array
from pocketportrait.distill.labels import ClipLabels
from pocketportrait.validation.portrait_actors import RecordedActor
from pocketportrait.validation.portrait_clips import Clip

REGIONS = ("face", "head around it", "rest", "all")
RING = 1.5
COLUMNS = ("repeat the photo", "student", "photo moved by optical flow")


def regions(photo_P2: Array, target_P2: Array, side: int) -> dict[str, Array]:
    """Return masks [S, S] of a frame from the landmarks of photo and frame, 0..1."""
    masks = []
    for times in (1.0, RING):
        mask = np.zeros((side, side), np.uint8)
        for points in (photo_P2, target_P2):
            centre = points.mean(0)
            grown = (centre + (points - centre) * times) * side
            cv2.fillConvexPoly(mask, cv2.convexHull(grown.astype(np.int32)), 1)
        masks.append(mask.astype(bool))
    face, head = masks
    return {"face": face, "head around it": head & ~face, "rest": ~head, "all": face | True}


def moved_by_flow(photo: Array, target: Array, flow: cv2.DISOpticalFlow) -> Array:
    """Return the photo, uint8 [S, S, 3], warped by the flow from the wanted frame to it."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (target, photo)]
    shift = flow.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    moved: Array = cv2.remap(
        photo,
        x + shift[..., 0],
        y + shift[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved


def labelled(
    clip: Clip, drawn: Path, labels: ClipLabels
) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Yield photo, wanted frame and drawn frame, uint8, and the frame's landmarks."""
    photo = clip.first_frame()
    rows = {int(frame): row for row, frame in enumerate(labels.frame)}
    for number, (output, target) in enumerate(
        RecordedActor(drawn, [clip]).perform(photo, clip, None)
    ):
        if number in rows:
            yield photo, target, output, labels.points[rows[number]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("drawn", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    sums = {name: np.zeros(len(COLUMNS)) for name in REGIONS}
    frames = clips = 0
    for drawn in sorted(arguments.drawn.glob("*.mkv")):
        clip = Clip(drawn.stem, arguments.data / "clips" / f"{drawn.stem}.mp4")
        labels = ClipLabels.read(arguments.labels / f"{drawn.stem}.safetensors")
        if not len(labels) or labels.frame[0]:
            print(f"{drawn.stem}: no landmarks of its photo, left out")
            continue
        clips += 1
        for photo, target, output, points in labelled(clip, arguments.drawn, labels):
            pictures = photo, output, moved_by_flow(photo, target, flow)
            errors = [np.abs(p.astype(int) - target).mean(2) for p in pictures]
            masks = regions(labels.points[0], points, target.shape[0])
            for name, mask in masks.items():
                sums[name] += [float(error[mask].sum()) for error in errors]
            frames += 1
    if not frames:
        parser.error(f"{arguments.drawn}: want clips that were drawn, got none with labels")
    whole = sums["all"][0]
    print(f"{frames} frames of {clips} clips")
    print(f"{'':16}share of the photo's L1  " + "  ".join(COLUMNS[1:]))
    for name, row in sums.items():
        ratios = "  ".join(
            f"{value / row[0]:{len(column)}.3f}"
            for column, value in zip(COLUMNS[1:], row[1:], strict=True)
        )
        print(f"{name:16}{row[0] / whole:23.3f}  {ratios}")
    if arguments.out:
        told = {name: dict(zip(COLUMNS, row.tolist(), strict=True)) for name, row in sums.items()}
        record = {"frames": frames, "clips": clips, "sums": told}
        atomic.write_bytes(arguments.out, json.dumps(record, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main()
