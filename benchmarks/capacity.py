"""Is the student large enough? It learns from few clips alone, and draws those.

    python benchmarks/capacity.py WEIGHTS --data DIR --out OUT [--clips 8] [--steps 600]

Goes on training the renderer of trained weights on a few clips of DATA (chosen by the digests of their
names), and watches pairs of these very clips. What it comes to is what the renderer's size allows for
these faces; what it began with, on the same pairs, is what training on all clips has made of it. Losses
are those of a `render` phase without `performed` and `mixed`: pixels are what is asked. A run that was
stopped goes on where it stood. Prints the figures by step, as ratios to repeating the photo.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from ablation import some_labels, watched
from accelerate import Accelerator

from pocketportrait.distill.objective import LossWeights, Objective
from pocketportrait.distill.plan import Phase, TrainOptions
from pocketportrait.distill.stage import Stage
from pocketportrait.distill.trainer import Run
from pocketportrait.models.student import Student
from pocketportrait.models.weights import load_student

PIXELS = LossWeights(performed=0.0, mixed=0.0)


def pixels(student: Student, phase: Phase) -> Objective:
    """Return the objective of pictures and fields alone: nothing is read from what was drawn."""
    return Objective(student, "render", PIXELS)


class PixelRun(Run):
    """A training whose loss is that of pictures and fields."""

    def _stage(self, phase: Phase) -> Stage:
        return Stage(phase, self.dims, self.state, self.accelerator, self.options.seed, pixels)


def main() -> None:
    """Train and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="DATA/labels by default")
    parser.add_argument("--cache", type=Path, help="decoded frames; OUT/cache by default")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1.2e-4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    labels = options.labels or options.data / "labels"
    share = options.clips / len(list(labels.glob("*.safetensors")))
    chosen = some_labels(labels, share, options.out / "labels")
    told = TrainOptions(
        data=options.data,
        out=options.out,
        labels=chosen,
        cache=options.cache,
        plan=(Phase("render", 256, options.batch, options.steps, options.rate, 0.02),),
        start=options.weights,
        monitor=options.data,
        monitor_labels=chosen,
        save_every=100,
    )
    run = PixelRun(told, Accelerator(mixed_precision="bf16"), lambda line: print(line, flush=True))
    if run.monitor and not run.state.step:
        first = run.monitor.look(load_student(options.weights).eval(), 0)
        run._log({"monitor": first})
    run.go()
    for seen in watched(options.out):
        print(f"step {seen['step']}: L1 {seen['l1_ratio']:.3f}  mesh {seen['mesh_ratio']:.3f}")


if __name__ == "__main__":
    main()
