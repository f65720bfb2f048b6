"""How much each term of the training loss pulls at each part of the renderer.

    .venv/bin/python benchmarks/gradient_norms.py CHECKPOINT DATA [--labels DIR] [--cache DIR]

CHECKPOINT is `checkpoint.safetensors` of `pocketportrait train`; DATA is a labelled folder. Prints the
L2 norm of the gradient of every term as it is weighted, mean over batches.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.objective import Objective, to_batch
from pocketportrait.distill.stage import build
from pocketportrait.models.dims import StudentDims

GROUPS = ("student.render.flow", "student.render.embed", "student.render", "student.appearance")


def group_of(name: str) -> str | None:
    """Return the first group that a parameter belongs to; the motion encoder belongs to none."""
    return next((group for group in GROUPS if name.startswith(group + ".")), None)


def norms(objective: Objective, batch: dict[str, Tensor], side: int) -> dict[str, list[float]]:
    """Return for each term its weighted gradient's norm in each of GROUPS."""
    named = [(n, p) for n, p in objective.named_parameters() if group_of(n)]
    with torch.autocast("cpu", torch.bfloat16):
        parts, _ = objective._joint_parts(batch, side)
    found: dict[str, list[float]] = {}
    for term, value in parts.items():
        weighted = value * getattr(objective.weights, term)
        gradients = torch.autograd.grad(
            weighted, [p for _, p in named], retain_graph=True, allow_unused=True
        )
        squares = dict.fromkeys(GROUPS, 0.0)
        for (name, _), gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                squares[str(group_of(name))] += float(gradient.square().sum())
        found[term] = [squares[group] ** 0.5 for group in GROUPS]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/cache"))
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    state = Checkpoint.read(arguments.checkpoint)
    dims = StudentDims.from_json(state.dims)
    objective = Objective(build(dims, dims.side), "render")
    objective.load_state_dict(state.model)
    objective.train()
    labels = arguments.labels or arguments.data / "labels"
    clips = Clips(arguments.data, labels, arguments.cache, dims.side)
    rows: list[dict[str, list[float]]] = []
    for step in range(arguments.batches):
        pairs = clips.draw(arguments.batch, 1, step)
        batch = to_batch(pairs, torch.Generator().manual_seed(step), "render")
        rows.append(norms(objective, batch, dims.side))
    print("| term | " + " | ".join(GROUPS) + " |\n|---|" + "---|" * len(GROUPS))
    for term in rows[0]:
        means = torch.tensor([row[term] for row in rows]).mean(0).tolist()
        print(f"| {term} | " + " | ".join(f"{value:.3f}" for value in means) + " |")


if __name__ == "__main__":
    main()
