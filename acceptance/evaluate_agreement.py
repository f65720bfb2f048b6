"""Acceptance: `pocketportrait evaluate` and the reference scorer agree to 1 % per clip and figure.

    python acceptance/evaluate_agreement.py [--scored DIR] [--out DIR] [--cross N] [--limit N]

Self-reenactment: the clips that acceptance/self_reenactment.py drew, and the reference's own rows of
them. Cross-reenactment: pairs that `evaluate` draws, measures and keeps, judged by the reference after.
Exit 1 if a figure differs. Writes agreement.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from score_environment import ROOT, score_python
from self_reenactment import SHARED, score, scored_rows

from pocketportrait import atomic
from pocketportrait.validation.portrait_clips import HeldOut
from pocketportrait.validation.portrait_evaluation import EvaluationOptions, evaluate
from pocketportrait.validation.portrait_record import ClipFigures

TOLERANCE = 0.01  # of the reference's figure
ROUNDING = 1e-5  # the reference tells five digits behind the point
NOT_FIGURES = ("kind", "out", "n", "frames")


def differences(
    clip: ClipFigures, reference: Mapping[str, Any]
) -> Iterable[tuple[str, float | None, float | None]]:
    """Yield the figures that differ: name, ours, the reference's; None where one side has none."""
    want = {name: value for name, value in reference.items() if name not in NOT_FIGURES}
    known = {name: clip.figures.get(name) for name in want}
    for name, ours in known.items():
        if ours is None or abs(ours - want[name]) > TOLERANCE * abs(want[name]) + ROUNDING:
            yield name, ours, want[name]
    extra = [name for name in clip.figures if name.startswith("corr_") and name not in want]
    yield from ((name, clip.figures[name], None) for name in extra)
    for name, ours in (("n", clip.frames), ("frames", clip.faces)):
        if ours != reference[name]:
            yield name, ours, reference[name]


def largest(pairs: Iterable[tuple[ClipFigures, Mapping[str, Any]]]) -> dict[str, float]:
    """Return, per figure, the largest relative difference over all clips."""
    found: dict[str, float] = {}
    for clip, reference in pairs:
        for name, want in reference.items():
            if name not in NOT_FIGURES and name in clip.figures and want:
                apart = max(abs(clip.figures[name] - want) - ROUNDING, 0) / abs(want)
                found[name] = max(found.get(name, 0.0), apart)
    return dict(sorted(found.items()))


def self_pairs(
    options: argparse.Namespace, shared: Mapping[str, Any]
) -> list[tuple[ClipFigures, Mapping[str, Any]]]:
    """Score what self_reenactment.py drew; return it beside the reference's rows."""
    reference = scored_rows(options.scored)
    footage = HeldOut.read(options.data, origin="footage").clips
    names = tuple(c.name for c in footage if c.name in reference)[: options.limit]
    record = evaluate(
        None,
        EvaluationOptions(
            **shared,
            out=options.out / "self",
            rendered=options.scored / "clips",
            clips=names,
        ),
    )
    return [(clip, reference[clip.clip]) for clip in record.clips]


def cross_pairs(
    options: argparse.Namespace, shared: Mapping[str, Any]
) -> list[tuple[ClipFigures, Mapping[str, Any]]]:
    """Let `evaluate` draw and score pairs; return them beside what the reference says of the files."""
    out = options.out / "cross"
    record = evaluate(
        options.bundle or options.scored / "bundle",
        EvaluationOptions(
            **shared,
            out=out,
            cross=options.cross,
            origin="footage",
            clips=tuple(options.drivers),
            frames=options.frames,
            drift_frames=0,
            keep_clips=True,
            threads=1,  # the same last bits everywhere
        ),
    )
    held_out = HeldOut.read(options.data)
    paths = {item.name: str(item.path) for item in (*held_out.photos, *held_out.clips)}
    asked = []
    for clip in record.clips:
        name = f"cross/{clip.clip}--{clip.photo}.mkv" if clip.photo else f"clips/{clip.clip}.mkv"
        pair = {"kind": clip.kind, "out": str(out / name), "target": paths[clip.clip]}
        asked.append(pair | ({"photo": paths[clip.photo]} if clip.photo else {}))
    pairs = out / "PAIRS.json"
    atomic.write_bytes(pairs, json.dumps(asked, indent=1).encode())
    rows = score(pairs, options.scorer, out / "scores.jsonl")
    return list(zip(record.clips, rows, strict=True))


def report(pairs: Sequence[tuple[ClipFigures, Mapping[str, Any]]], path: Path) -> bool:
    """Print and write how far apart the two are; return whether they agree."""
    wrong = [(clip, *odd) for clip, row in pairs for odd in differences(clip, row)]
    for clip, name, ours, want in wrong:
        print(f"FAIL  {clip.kind} {clip.name}: {name}: ours {ours}, the reference's {want}")
    apart = largest(pairs)
    count = sum(len(row.keys() - set(NOT_FIGURES)) for _, row in pairs)
    print(f"{count} figures of {len(pairs)} clips; largest relative differences:")
    print("      " + "  ".join(f"{name} {value:.1e}" for name, value in apart.items()))
    print(f"{'FAIL' if wrong else 'PASS'}  agreement within {TOLERANCE:.0%}")
    found = {"schema_version": 1, "clips": len(pairs), "figures": count, "largest": apart}
    atomic.write_bytes(path, json.dumps(found | {"passed": not wrong}, indent=2).encode() + b"\n")
    return not wrong


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "agreement")
    parser.add_argument("--scored", type=Path, default=ROOT / "out" / "acceptance")
    parser.add_argument("--bundle", type=Path, help="for the pairs; that of --scored by default")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--limit", type=int, help="only so many clips of footage: a quick look")
    parser.add_argument("--cross", type=int, default=4, help="pairs across people; 0 for none")
    parser.add_argument("--drivers", nargs="*", default=["01fae306db8c", "f1aea1de7034"])
    parser.add_argument("--frames", type=int, help="only so many of each driver of the pairs")
    options = parser.parse_args()
    shared = {
        "data": options.data,
        "score_models": options.scorer.parent,
        "score_python": score_python(),
    }
    pairs = self_pairs(options, shared)
    if options.cross:
        pairs += cross_pairs(options, shared)
    return 0 if report(pairs, options.out / "agreement.json") else 1


if __name__ == "__main__":
    sys.exit(main())
