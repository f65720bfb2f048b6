"""What a training step takes, plain and compiled, in turns on one machine.

    .venv/bin/python benchmarks/training_step.py DATA [--labels DIR] [--cache DIR] [--kind tune]

Every batch is learnt from by both, one after the other. Prints the median of each and their ratio.
The first run on a machine compiles for some minutes, later ones find most of it in torch's cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.objective import to_batch
from pocketportrait.distill.plan import Phase
from pocketportrait.distill.stage import Stage
from pocketportrait.models.dims import phone

WARM = 3  # steps of each that do not count


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/cache"))
    parser.add_argument("--kind", default="tune", choices=["joint", "render", "tune"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dims = phone()
    clips = Clips(
        arguments.data, arguments.labels or arguments.data / "labels", arguments.cache, dims.side
    )
    phase = Phase(arguments.kind, dims.side, arguments.batch, arguments.steps, 1e-6)
    plain, compiled = (
        Stage(phase, dims, Checkpoint(dims.to_json()), Accelerator(mixed_precision="bf16"), 0)
        for _ in range(2)
    )
    compiled.compile()
    seconds: dict[str, list[float]] = {"plain": [], "compiled": []}
    for step in range(WARM + arguments.steps):
        pairs = clips.draw(arguments.batch, 0, step)
        batch = to_batch(pairs, torch.Generator().manual_seed(step), arguments.kind)
        for name, stage in (("plain", plain), ("compiled", compiled)):
            begin = time.perf_counter()
            stage.step(batch, step)
            if step >= WARM:
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name}: {value * 1e3:.0f} ms a step of {arguments.batch} pairs")
    print(f"compiled is {medians['plain'] / medians['compiled']:.2f} times as fast")


if __name__ == "__main__":
    main()
