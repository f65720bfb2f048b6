"""Acceptance: held-out clips drawn again from their first frame, through the exported ONNX files.

    python acceptance/self_reenactment.py [--out DIR] [--bundle B] [--data DIR] [--limit N]
    python acceptance/self_reenactment.py --teacher native --teacher-weights DIR [--out DIR] ...

Every clip's first frame is the photo and the whole clip the driver, both already cropped. Frames are kept
lossless and judged by the reference scorer in its own environment. A teacher draws them in torch, by the
same rules. What was drawn before is drawn again, but for a teacher's, which take hours. Exit 1 if a gate is
missed.
Writes PAIRS.json, scores.jsonl, figures.json and sheet-01.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossless import write_clip
from score_environment import ROOT, score_python

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait_actors import (
    Actor,
    ModelActor,
    Pairs,
    RecordedActor,
    driver_frames,
)
from pocketportrait.validation.portrait_clips import Clip
from pocketportrait.validation.portrait_evaluation import MOVING_DEG
from pocketportrait.validation.portrait_sheets import Liveliest, Sheets
from pocketportrait.validation.reenactment import Row, other_figures, reenactment_gates

if TYPE_CHECKING:
    from pocketportrait.models.teachers.protocol import Teacher

SHARED = ROOT.parent / "shared"
SHEET_CLIPS = 8


class TeacherActor:
    """Draws with a teacher."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def perform(self, photo: Array, driver: Clip, frames: int | None) -> Pairs:
        """Yield what the photo makes of a driver, and the driver."""
        seen = list(driver_frames(driver, frames))
        yield from zip(self._teacher.animate(photo, seen), seen, strict=True)


def render_all(
    actor: Actor, clips: Sequence[Path], folder: Path, keep: bool = False
) -> list[dict[str, str]]:
    """Draw all clips, but for those that are there if they are kept; return the scorer's pairs."""
    pairs = []
    for number, clip in enumerate(clips, 1):
        out = folder / f"{clip.stem}.mkv"
        if not (keep and out.is_file()):
            driver = Clip(clip.stem, clip)
            performed = actor.perform(driver.first_frame(), driver, None)
            count = write_clip(out, (output for output, _ in performed))
            print(f"rendered {number} of {len(clips)}: {clip.name}, {count} frames", flush=True)
        pairs.append({"kind": "self", "out": str(out), "target": str(clip)})
    return pairs


def render_by(options: argparse.Namespace, clips: Sequence[Path]) -> list[dict[str, str]]:
    """Draw all clips with the bundle or the teacher that was asked for."""
    folder = options.out / "clips"
    if options.teacher:
        import torch

        from pocketportrait.models.teachers.registry import open_teacher

        teacher = open_teacher(options.teacher, options.teacher_weights)
        precision = "bf16" if options.bf16 else "fp32"
        own = folder / f"{teacher.fingerprint[:12]}-{precision}"  # of others nothing is kept
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            return render_all(TeacherActor(teacher), clips, own, keep=True)
    bundle = options.bundle or default_bundle(options.out / "bundle")
    with Bundle.open(bundle) as opened, Session.open(opened, "onnx", "fp32") as session:
        return render_all(ModelActor(session), clips, folder)


def score(pairs: Path, scorer: Path, log: Path) -> list[dict[str, Any]]:
    """Run the reference scorer and return one row a clip."""
    command = [str(score_python()), str(scorer), "batch", str(pairs)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        sys.exit(f"error: the scorer ended with exit code {ran.returncode}; see its words above")
    atomic.write_bytes(log, ran.stdout.encode())
    return [row for row in map(json.loads, ran.stdout.splitlines()) if "mean" not in row]


def scored_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the scorer's rows of what was drawn into a folder before, by the clips' names."""
    log = folder / "scores.jsonl"
    if not log.is_file():
        sys.exit(f"error: {log}: want scores; run acceptance/self_reenactment.py first")
    lines = map(json.loads, log.read_text().splitlines())
    return {Path(row["out"]).stem: row for row in lines if "mean" not in row}


def with_moving_heads(clips: Sequence[Clip], scored: Mapping[str, Row]) -> list[Clip]:
    """Return the clips whose head moves enough to drive other people."""
    return [c for c in clips if scored[c.name].get("apd_deg_static", 0) >= MOVING_DEG]


def sheet(clips: Sequence[Path], drawn: Path, out: Path) -> Sequence[Path]:
    """Write photo, driver, output and difference at each clip's liveliest frame."""
    shown = [Clip(path.stem, path) for path in clips]
    actor, sheets = RecordedActor(drawn, shown), Sheets(out, "sheet")
    for clip in shown:
        liveliest = Liveliest(clip.first_frame())
        for output, target in actor.perform(clip.first_frame(), clip, None):
            liveliest.add(output, target)
        sheets.add(liveliest.strip(), clip.name)
    sheets.finish()
    return sheets.pages


def default_bundle(folder: Path) -> Path:
    """Export the shipped weights as ONNX and return the bundle."""
    command = [
        sys.executable,
        "-m",
        "pocketportrait",
        "export",
        "--format",
        "onnx",
        "--precision",
        "fp32",
    ]
    subprocess.run([*command, "--out", str(folder)], check=True)
    return folder


def report(rows: Sequence[Row], footage: set[str], path: Path) -> bool:
    """Print and write the figures; return whether footage passes all, and all clips all but L1."""
    groups = {
        "footage": [r for r in rows if Path(r["out"]).stem in footage],
        "all": list(rows),
    }
    figures: dict[str, Any] = {"schema_version": 1}
    passed = True
    for name, group in groups.items():
        gates = reenactment_gates(group)
        more = other_figures(group)
        figures[name] = {g.figure: g.value for g in gates} | more | {"clips": len(group)}
        print(f"\n{name}: {len(group)} clips")
        # half of the clips are another model's output: their pixels are not asked for
        asked = [g for g in gates if name == "footage" or g.figure != "l1 ratio"]
        more = {g.figure: g.value for g in gates if g not in asked} | more
        print("\n".join(gate.line() for gate in asked))
        print("      " + "  ".join(f"{k} {v:.3f}" for k, v in more.items()))
        passed &= all(gate.passed for gate in asked)
    figures["passed"] = passed
    atomic.write_bytes(path, json.dumps(figures, indent=2).encode() + b"\n")
    return passed


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "acceptance")
    parser.add_argument("--bundle", type=Path, help="a bundle with onnx/fp32; exported by default")
    parser.add_argument("--teacher", help="draw with a teacher of this kind instead")
    parser.add_argument("--teacher-weights", type=Path, help="folder with its weights")
    parser.add_argument("--bf16", action="store_true", help="a teacher on a CPU draws in bfloat16")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--limit", type=int, help="only so many clips of footage: a quick look")
    options = parser.parse_args()
    if bool(options.teacher) != bool(options.teacher_weights):
        sys.exit("error: --teacher and --teacher-weights: want both or none")
    if not (options.data / "manifest.json").is_file():
        sys.exit(
            f"error: {options.data}: want the portrait clips with manifest.json, got none there"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((options.data / "manifest.json").read_text())
    held_out = [c for c in manifest["clips"] if c["split"] == "val"]
    footage = {Path(c["file"]).stem for c in held_out if c["origin"] == "footage"}
    clips = {Path(c["file"]).stem: options.data / c["file"] for c in held_out}
    if options.limit:
        clips = {name: clips[name] for name in sorted(footage)[: options.limit]}
    pairs = render_by(options, list(clips.values()))
    pairs_file = options.out / "PAIRS.json"
    atomic.write_bytes(pairs_file, json.dumps(pairs, indent=1).encode())
    rows = score(pairs_file, options.scorer, options.out / "scores.jsonl")
    shown = [clip for name, clip in clips.items() if name in footage]
    pages = sheet(shown[:SHEET_CLIPS], Path(pairs[0]["out"]).parent, options.out)
    passed = report(rows, footage, options.out / "figures.json")
    print(f"\nsheet: {', '.join(map(str, pages))}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
