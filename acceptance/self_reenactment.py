"""Acceptance: held-out clips drawn again from their first frame, through the exported ONNX files.

    python acceptance/self_reenactment.py [--out DIR] [--bundle B] [--data DIR] [--limit N]

Every clip's first frame is the photo and the whole clip the driver, both already cropped. Frames are kept
lossless and judged by the reference scorer in its own environment. Exit 1 if a gate is missed.
Writes PAIRS.json, scores.jsonl, figures.json and sheet.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lossless import frames_of, write_clip
from PIL import Image
from score_environment import ROOT, score_python

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.session import Session
from pocketportrait.validation.reenactment import Row, other_figures, reenactment_gates

SHARED = ROOT.parent / "shared"
SHEET_CLIPS, SHEET_GAIN = 8, 3  # rows of the sheet; how much its differences are brightened


def performed(session: Session, clip: Path) -> Iterator[Array]:
    """Yield a clip as its own first frame performs it."""
    for index, frame in enumerate(frames_of(clip)):
        if index == 0:
            session.set_photo(frame)
        yield session.step(frame)


def render_all(bundle: Bundle, clips: Sequence[Path], folder: Path) -> list[dict[str, str]]:
    """Draw all clips and return the scorer's list of pairs."""
    pairs = []
    with Session.open(bundle, format="onnx", precision="fp32") as session:
        for number, clip in enumerate(clips, 1):
            out = folder / f"{clip.stem}.mkv"
            count = write_clip(out, performed(session, clip))
            print(f"rendered {number} of {len(clips)}: {clip.name}, {count} frames", flush=True)
            pairs.append({"kind": "self", "out": str(out), "target": str(clip)})
    return pairs


def score(pairs: Path, scorer: Path, log: Path) -> list[dict[str, Any]]:
    """Run the reference scorer and return one row a clip."""
    command = [str(score_python()), str(scorer), "batch", str(pairs)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        sys.exit(f"error: the scorer ended with exit code {ran.returncode}; see its words above")
    atomic.write_bytes(log, ran.stdout.encode())
    return [row for row in map(json.loads, ran.stdout.splitlines()) if "mean" not in row]


def sheet(rows: Sequence[Row], clips: dict[str, Path], path: Path) -> None:
    """Write photo, driver, output and difference at each clip's liveliest frame."""
    strips = []
    for row in rows:
        drawn, clip = Path(row["out"]), clips[Path(row["out"]).stem]
        target, output = list(frames_of(clip)), list(frames_of(drawn))
        moved = [np.abs(frame.astype(int) - target[0]).mean() for frame in target]
        best = int(np.argmax(moved))
        difference = np.abs(output[best].astype(int) - target[best]) * SHEET_GAIN
        shown = (target[0], target[best], output[best], difference.clip(0, 255).astype(np.uint8))
        strips.append(np.concatenate(shown, axis=1))
    with atomic.replacing(path) as temporary:
        Image.fromarray(np.concatenate(strips)).save(temporary)


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
        print("\n".join(gate.line() for gate in gates))
        print("      " + "  ".join(f"{k} {v:.3f}" for k, v in more.items()))
        # half of the clips are another model's output: their pixels are not asked for
        asked = [g for g in gates if name == "footage" or g.figure != "l1 ratio"]
        passed &= all(gate.passed for gate in asked)
    figures["passed"] = passed
    atomic.write_bytes(path, json.dumps(figures, indent=2).encode() + b"\n")
    return passed


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "acceptance")
    parser.add_argument("--bundle", type=Path, help="a bundle with onnx/fp32; exported by default")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--limit", type=int, help="only so many clips of footage: a quick look")
    options = parser.parse_args()
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
    with Bundle.open(options.bundle or default_bundle(options.out / "bundle")) as bundle:
        pairs = render_all(bundle, list(clips.values()), options.out / "clips")
    pairs_file = options.out / "PAIRS.json"
    atomic.write_bytes(pairs_file, json.dumps(pairs, indent=1).encode())
    rows = score(pairs_file, options.scorer, options.out / "scores.jsonl")
    shown = [r for r in rows if Path(r["out"]).stem in footage][:SHEET_CLIPS]
    sheet(shown, clips, options.out / "sheet.png")
    passed = report(rows, footage, options.out / "figures.json")
    print(f"\nsheet: {options.out / 'sheet.png'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
