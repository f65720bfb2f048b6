"""What limits a picture: the code that the encoder reads, or the renderer that performs it.

    .venv/bin/python benchmarks/code_limits.py WEIGHTS DATA [--labels DIR] [--cache DIR] [--pairs 32]

Renders pairs of one clip each with the codes that the encoder reads, then with the labels' poses in
their place, then with codes that gradient descent on the picture itself has found. Prints, as ratios to
doing nothing, L1 of the picture and the mesh error of the fields, and how wrong each pose value is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from pocketportrait.contract import POSE
from pocketportrait.distill import clips as drawing
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.losses import mesh_flow_loss, pyramid_loss
from pocketportrait.distill.objective import to_batch
from pocketportrait.models.student import Rendered
from pocketportrait.models.weights import load_student


def figures(out: Rendered, batch: dict[str, Tensor]) -> str:
    """Return both ratios in words."""
    image = out.image.clamp(0, 1)
    l1 = (image - batch["target"]).abs().mean() / (batch["photo"] - batch["target"]).abs().mean()
    place = (batch["photo_points"], batch["target_points"], torch.ones(478))
    still = mesh_flow_loss(torch.zeros_like(out.fine_fields), *place)
    return f"L1 {float(l1):.3f}  mesh {float(mesh_flow_loss(out.fine_fields, *place) / still):.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/cache"))
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    student = load_student(arguments.weights).eval().requires_grad_(False)
    drawing.SEEK, drawing.STAY = 0.0, 0.0  # pairs as they come
    clips = Clips(
        arguments.data, arguments.labels or arguments.data / "labels", arguments.cache, 256
    )
    pairs = clips.draw(arguments.pairs, 777, 0)
    batch = to_batch(pairs, torch.Generator().manual_seed(1), "render")
    maps: tuple[Tensor, Tensor, Tensor] = student.appearance(batch["photo"])
    source, driving = student.motion(batch["photo"]), student.motion(batch["target"])
    was, becomes = batch["pose"].chunk(2)
    pose = slice(len(POSE))
    wrong = (driving - source)[:, pose] - (becomes - was)
    for number, name in enumerate(POSE):
        error, size = wrong[:, number].abs().mean(), (becomes - was)[:, number].abs().mean()
        print(f"{name:10} change wrong by {float(error):.4f} of {float(size):.4f}")
    print(f"{'as read':28} {figures(student.render.draw(*maps, source, driving), batch)}")
    told_source, told_driving = source.clone(), driving.clone()
    told_source[:, pose], told_driving[:, pose] = was, becomes
    drawn = student.render.draw(*maps, told_source, told_driving)
    print(f"{'poses of the labels':28} {figures(drawn, batch)}")
    for name, part, rate in (("pose", pose, 0.01), ("code", slice(None), 0.03)):
        found = descended(student, maps, source, driving, batch["target"], part, rate, arguments)
        print(f"{f'{name} by descent':28} {figures(found, batch)}")


def descended(
    student: torch.nn.Module,
    maps: tuple[Tensor, ...],
    source: Tensor,
    driving: Tensor,
    target: Tensor,
    part: slice,
    rate: float,
    arguments: argparse.Namespace,
) -> Rendered:
    """Return what is rendered once a part of the driving code was moved towards the picture."""
    change = torch.zeros_like(driving[:, part], requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=rate)
    weight = torch.ones_like(target[:, :1])
    for step in range(arguments.steps + 1):
        code = driving.clone()
        code[:, part] = driving[:, part] + change
        out: Rendered = student.render.draw(*maps, source, code)  # type: ignore[union-attr, operator]
        if step < arguments.steps:
            optimiser.zero_grad()
            loss = pyramid_loss(out.image, target, weight) * len(target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Rendered(*(value.detach() for value in out))


if __name__ == "__main__":
    main()
