"""Acceptance: a face that convinces: stricter bounds, other people's photos, and torch beside the files.

    python acceptance/convincing.py [--scored DIR] [--out DIR] [--weights W] [--data DIR]

Looks at what acceptance/self_reenactment.py drew and scored (--scored), lets `evaluate` draw 20 pairs of
a driver whose head moves and another person's photo, and compares the exported files' PSNR with that of
the weights in torch. Exit 1 while a bound is missed. Writes figures.json; sheets are in cross/sheets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from score_environment import ROOT, score_python
from self_reenactment import SHARED, scored_rows, with_moving_heads

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait_actors import driver_frames
from pocketportrait.validation.portrait_clips import Clip, HeldOut
from pocketportrait.validation.portrait_evaluation import (
    EvaluationOptions,
    evaluate,
)
from pocketportrait.validation.reenactment import (
    CONVINCES,
    Gate,
    Row,
    cross_gates,
    reenactment_gates,
)

PAIRS = 20
APART_DB = 0.3  # of the files' PSNR and that of torch
TORCH_FRAMES = 8  # of each clip
WEIGHTS = ROOT / "pocketportrait" / "assets" / "student.safetensors"


def cross_rows(bundle: Path, drivers: tuple[str, ...], options: Any) -> tuple[list[Row], list[Row]]:
    """Draw and measure pairs of different people; return their rows, and the drivers' own."""
    record = evaluate(
        bundle,
        EvaluationOptions(
            data=options.data,
            out=options.out / "cross",
            origin="footage",
            clips=drivers,
            frames=options.frames,
            cross=PAIRS,
            drift_frames=0,
            score_models=options.scorer.parent,
            score_python=score_python(),
        ),
    )
    for clip in record.clips:
        if clip.kind == "cross":
            print(f"pair: {clip.name}", flush=True)
    kinds: dict[str, list[Row]] = {"self": [], "cross": []}
    for clip in record.clips:
        kinds[clip.kind].append(clip.figures)
    return kinds["cross"], kinds["self"]


def torch_gates(bundle: Path, weights: Path, clips: Sequence[Clip]) -> tuple[Gate, ...]:
    """Return how far the PSNR of the exported files is from that of the weights in torch.

    Once of the weights as they are, and once with the mark, which the files have too. Of each clip
    TORCH_FRAMES driven frames stand for all, and the photo itself, where the mark is most of the
    error, counts as the one frame that it is.
    """
    import torch

    from pocketportrait.export.marked import DEFAULT_MARK, marked_student
    from pocketportrait.models.weights import load_student

    assert DEFAULT_MARK is not None
    student = load_student(weights).eval()
    renders = {
        "torch's": student.render,
        "torch's, marked": marked_student(student, DEFAULT_MARK).render,
    }
    found: dict[str, list[float]] = {name: [] for name in ("files", *renders)}
    with Bundle.open(bundle) as opened, Session.open(opened, "onnx", "fp32") as session:
        for clip in clips:
            frames = list(driver_frames(clip, None))
            picked = [frames[int(k)] for k in np.linspace(1, len(frames) - 1, TORCH_FRAMES)]
            wanted = [frames[0], *picked]
            session.set_photo(frames[0])
            found["files"].append(_of_a_clip(session.animate(wanted), wanted, len(frames)))
            with torch.inference_mode():
                codes = [student.motion(tensor(frame)) for frame in wanted]
                maps = student.appearance(tensor(frames[0]))
                for name, render in renders.items():
                    drawn = [picture(render(*maps, codes[0], code)) for code in codes]
                    found[name].append(_of_a_clip(drawn, wanted, len(frames)))
    files = float(np.mean(found["files"]))
    return tuple(
        Gate(
            f"psnr_db from {name}",
            abs(files - float(np.mean(found[name]))),
            APART_DB,
            True,
            len(clips),
        )
        for name in renders
    )


def _of_a_clip(drawn: Iterable[Array], wanted: Sequence[Array], count: int) -> float:
    """Return the mean PSNR of a clip of so many frames, from its first and some driven ones."""
    first, *driven = map(psnr_db, drawn, wanted)
    return first / count + float(np.mean(driven)) * (1 - 1 / count)


def picture(image: Any) -> Array:
    """Turn a torch tensor [1, 3, H, W], 0..1, into uint8 [H, W, 3]."""
    values: Array = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    return values


def tensor(frame: Array) -> Any:
    """Turn uint8 [H, W, 3] into a torch tensor [1, 3, H, W], 0..1."""
    import torch

    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255


def psnr_db(a: Array, b: Array) -> float:
    """Return the PSNR of two uint8 pictures."""
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float(10 * np.log10(255**2 / np.maximum(error, 1e-3)))


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scored", type=Path, default=ROOT / "out" / "acceptance")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "convincing")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--frames", type=int, default=120, help="of each driver of the pairs")
    options = parser.parse_args()
    scored, bundle = scored_rows(options.scored), options.scored / "bundle"
    footage = [c for c in HeldOut.read(options.data, origin="footage").clips if c.name in scored]
    rows = [scored[clip.name] for clip in footage]
    moving = tuple(clip.name for clip in with_moving_heads(footage, scored))
    pairs, themselves = cross_rows(bundle, moving, options)
    groups = {
        "self": reenactment_gates(rows, CONVINCES),
        "cross": cross_gates(pairs, themselves),
        "torch": torch_gates(bundle, options.weights, footage),
    }
    for name, gates in groups.items():
        print(f"\n{name}:")
        print("\n".join(gate.line() for gate in gates))
    passed = all(gate.passed for gates in groups.values() for gate in gates)
    figures: dict[str, Any] = {"schema_version": 1, "passed": passed, "pairs": len(pairs)}
    figures |= {n: {g.figure: [g.value, g.bound] for g in gates} for n, gates in groups.items()}
    content = json.dumps(figures, indent=2).encode() + b"\n"
    atomic.write_bytes(options.out / "figures.json", content)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
