"""Acceptance of the code's slices: the pose of one driver with the expression of another.

    python acceptance/slices.py [--out DIR] [--bundle B] [--data DIR] [--count N]

Photos perform codes put together from two strangers' frames. The head pose of the result must follow
the first, its blendshapes the second, both measured on pictures. Exit 1 if a gate is missed.
Writes figures.json and sheet.png (photo, pose driver, expression driver, output).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lossless import write_clip
from PIL import Image
from score_environment import ROOT, score_python
from self_reenactment import SHARED, default_bundle

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, POSE, Array
from pocketportrait.runtime.runner import open_runner
from pocketportrait.validation.portrait_clips import frames_of

POSE_NAMES = ("yaw", "pitch", "roll")
BLENDSHAPES = {"jaw_open": [25], "blink": [9, 10], "smile": [44, 45]}
LEAST_MATCH, LEAST_LEAD = 0.5, 0.3  # correlation with the right driver, and its lead over the wrong


def tensor(picture: Array) -> Array:
    """Return a uint8 picture as a contract tensor."""
    return (picture.transpose(2, 0, 1)[None] / 255).astype(np.float32)


def pick(
    clips: list[Path], count: int, seed: int = 0
) -> tuple[list[Array], list[Array], list[Array]]:
    """Draw photos (first frames), pose drivers and expression drivers, each of another clip."""
    rng = np.random.default_rng(seed)
    frames = {clip: list(frames_of(clip)) for clip in clips}
    photos: list[Array] = []
    poses: list[Array] = []
    expressions: list[Array] = []
    for _ in range(count):
        one, two, three = rng.choice(len(clips), 3, replace=False)
        photos.append(frames[clips[one]][0])
        for drivers, index in ((poses, two), (expressions, three)):
            own = frames[clips[index]]
            drivers.append(own[int(rng.integers(len(own)))])
    return photos, poses, expressions


def perform(
    bundle: Bundle, photos: list[Array], poses: list[Array], expressions: list[Array]
) -> list[Array]:
    """Render every photo with the pose slice of one frame and the expression slice of another."""
    appearance, motion, render = (open_runner(bundle, "onnx", "fp32", graph) for graph in GRAPHS)
    out = []
    with appearance, motion, render:

        def code(frame: Array) -> Array:
            return motion.infer({"frame": tensor(frame)})["code"]

        for photo, pose, expression in zip(photos, poses, expressions, strict=True):
            mixed = np.concatenate(
                [code(pose)[:, : len(POSE)], code(expression)[:, len(POSE) :]], 1
            )
            feed = appearance.infer({"photo": tensor(photo)})
            feed |= {"source_code": code(photo), "driving_code": mixed}
            image = render.infer(feed)["image"][0].transpose(1, 2, 0)
            out.append((image * 255).round().astype(np.uint8))
    return out


def measure(scorer: Path, clips: list[Path]) -> list[list[dict[str, Any] | None]]:
    """Measure clips in the scorer's environment."""
    worker = Path(__file__).with_name("measure_faces.py")
    command = [str(score_python()), str(worker), str(scorer), *map(str, clips)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def figures(output: Any, pose: Any, expression: Any) -> dict[str, dict[str, float]]:
    """Return, per quantity, the correlation of the output with the right and with the wrong driver."""
    seen = [i for i in range(len(output)) if output[i] and pose[i] and expression[i]]

    def column(rows: Any, key: str, picked: list[int]) -> Array:
        return np.array([np.mean([rows[i][key][k] for k in picked]) for i in seen])

    found = {}
    for k, name in enumerate(POSE_NAMES):
        o, right, wrong = (column(rows, "pose", [k]) for rows in (output, pose, expression))
        found[name] = {"match": correlation(o, right), "other": correlation(o, wrong)}
    for name, picked in BLENDSHAPES.items():
        o, right, wrong = (column(rows, "blend", picked) for rows in (output, expression, pose))
        found[name] = {"match": correlation(o, right), "other": correlation(o, wrong)}
    found["measured"] = {"share": len(seen) / len(output)}
    return found


def correlation(a: Array, b: Array) -> float:
    """Return Pearson's correlation."""
    return float(np.corrcoef(a, b)[0, 1])


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "slices")
    parser.add_argument("--bundle", type=Path, help="a bundle with onnx/fp32; exported by default")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--count", type=int, default=120)
    options = parser.parse_args()
    manifest = json.loads((options.data / "manifest.json").read_text())
    clips = [
        options.data / c["file"]
        for c in manifest["clips"]
        if c["split"] == "val" and c["origin"] == "footage"
    ]
    with Bundle.open(options.bundle or default_bundle(options.out / "bundle")) as bundle:
        photos, poses, expressions = pick(clips, options.count)
        outputs = perform(bundle, photos, poses, expressions)
    names = {"output": outputs, "pose": poses, "expression": expressions}
    files = [options.out / f"{name}.mkv" for name in names]
    for file, frames in zip(files, names.values(), strict=True):
        write_clip(file, frames)
    found = figures(*measure(options.scorer, files))
    passed = True
    for name, row in found.items():
        if "match" in row:
            good = row["match"] >= LEAST_MATCH and row["match"] - row["other"] >= LEAST_LEAD
            passed &= good
            print(
                f"{'PASS' if good else 'FAIL'}  {name:10} follows its driver {row['match']:.3f},"
                f" the other {row['other']:.3f}"
            )
    rows = list(zip(photos, poses, expressions, outputs, strict=True))[:8]
    with atomic.replacing(options.out / "sheet.png") as temporary:
        Image.fromarray(np.concatenate([np.concatenate(r, 1) for r in rows])).save(temporary)
    atomic.write_bytes(options.out / "figures.json", json.dumps(found, indent=2).encode() + b"\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
