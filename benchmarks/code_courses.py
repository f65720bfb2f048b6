"""What codes say: how well a linear head that was fitted to them follows expressions over time.

    python benchmarks/code_courses.py WEIGHTS --train DIR --held-out DIR [--cache DIR]

A label head is fitted to the codes of frames of one labelled folder, as training does when it begins with
weights, and reads the clips of another. Prints, for each expression, the median correlation of its course
with the labels' over clips in which it moves enough. What is not in the codes, nobody can draw.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pocketportrait.contract import Array
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.handover import encode, fitted_head
from pocketportrait.models.weights import load_student

PAIRS, SEED, EVERY = 500, 1, 4
# blendshapes whose mean, less that of others, is followed, and the least range over a clip that counts
COURSES: dict[str, tuple[list[int], list[int], float]] = {
    "jaw": ([25], [], 0.2),
    "blink": ([9, 10], [], 0.3),
    "smile": ([44, 45], [], 0.3),
    "pucker": ([38], [], 0.2),
    "brows up": ([3, 4, 5], [], 0.3),
    "frown": ([1, 2], [], 0.1),
    "gaze to the sides": ([14, 15], [13, 16], 0.5),
    "gaze down and up": ([11, 12], [17, 18], 0.4),
}


def course(scores_N52: Array, plus: list[int], minus: list[int]) -> Array:
    """Return the mean of some columns less that of others, [N]."""
    found: Array = scores_N52[:, plus].mean(1)
    return found - scores_N52[:, minus].mean(1) if minus else found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--train", type=Path, required=True, help="labelled folder to fit on")
    parser.add_argument("--train-labels", type=Path, help="TRAIN/labels by default")
    parser.add_argument("--held-out", type=Path, required=True, help="labelled folder to read")
    parser.add_argument("--held-out-labels", type=Path, help="HELD_OUT/labels by default")
    parser.add_argument("--cache", type=Path, default=Path("out/cache"), help="decoded frames")
    options = parser.parse_args()
    motion = load_student(options.weights).eval().motion
    fit = Clips(options.train, options.train_labels or options.train / "labels", options.cache)
    pairs = fit.draw(PAIRS, SEED, 0)
    head = fitted_head(encode(motion, np.concatenate([pairs.photo, pairs.target])), pairs)
    labels = options.held_out_labels or options.held_out / "labels"
    clips = Clips(options.held_out, labels, options.cache)
    found: dict[str, list[float]] = {name: [] for name in COURSES}
    for number, one in enumerate(clips.labels):
        rows = np.arange(0, len(one), EVERY)
        code = encode(motion, clips.frames[clips.start[number] + rows]).float()
        with torch.no_grad():
            told = head(code)[0].numpy()
        for name, (plus, minus, least) in COURSES.items():
            truth = course(one.blendshapes[rows], plus, minus)
            if np.ptp(truth) >= least:
                answer = course(told, plus, minus)
                found[name].append(float(np.corrcoef(truth, answer)[0, 1]))
    for name, values in found.items():
        print(f"{name:18} {np.median(values):.3f}  ({len(values)} clips)")


if __name__ == "__main__":
    main()
