"""Acceptance of the quantization laboratory: one recipe file each, three formats, scored footage.

    python acceptance/quantization.py [--out DIR] [--weights W | --bundle B] [--data DIR] [--scorer S]

Exports the weights, quantizes them by the shipped recipes `w8`, `w8a8` and `mixed`, and holds the files
to the bounds of quantized_chain.py. Then `w8a8` performs the clips of footage, and the reference scorer
compares its keypoint and expression errors with those of onnx/fp32 on the same frames. A bundle that is
given is taken as it is. Exit 1 if a bound is missed. Writes figures.json. A run that was killed goes on
where it stood: what is in DIR of the same files is not made again (--bundle DIR/bundle saves making it).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lossless import write_clip
from quantized_chain import FRAMES, faults, files_digest, measure, quantized_variants, table
from score_environment import ROOT
from self_reenactment import SHARED, score

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.session import Session
from pocketportrait.validation.portrait_actors import driver_frames
from pocketportrait.validation.portrait_clips import Clip, HeldOut

RECIPES = ("w8a8", "mixed", "w8")  # the first one needs calibration, whose set is written down
PERFORMED = "w8a8"
REFERENCE = "onnx/fp32"
MOST_OF_FLOAT = {"akd_px": 1.05, "aed": 1.05}
MISSING_MORE = 0.005  # of all frames: a detector at its threshold finds a face or not by rounding
CLIP_FRAMES = 40  # of each clip; the scorer looks at every second


@dataclass(frozen=True, slots=True)
class Driver:
    """A clip's frames, spread over all of it; the first is the photo, and what motion counts from."""

    name: str
    frames: tuple[Array, ...]

    @classmethod
    def of(cls, clip: Clip, count: int) -> Driver:
        """Read a clip."""
        frames = list(driver_frames(clip, None))
        chosen = np.unique(np.linspace(0, len(frames) - 1, count).astype(int))
        return cls(clip.name, tuple(frames[index] for index in chosen))


def run(*arguments: str | Path) -> None:
    """Run a command of the package; a quantization that is not what was asked for is exit code 1."""
    command = [sys.executable, "-m", "pocketportrait", *map(str, arguments)]
    done = subprocess.run(command, check=False)
    if done.returncode > 1:
        sys.exit(
            f"error: {' '.join(command[2:])}: exit code {done.returncode}; see its words above"
        )


def make_bundle(out: Path, weights: Path | None, calibration: Path) -> Path:
    """Export weights and quantize them by every recipe; return the bundle."""
    bundle, chosen = out / "bundle", out / "calibration.json"
    run("export", "-p", "fp32", "-o", bundle, *(("--weights", weights) if weights else ()))
    source: tuple[str | Path, ...] = ("--calibration", calibration, "--write-set", chosen)
    for recipe in RECIPES:
        run("quantize", bundle, "-r", recipe, "-o", bundle, *source)
        source = ("--calibration", chosen)
    return bundle


def perform(bundle: Bundle, variant: str, drivers: Sequence[Driver], folder: Path) -> None:
    """Let one variant perform all drivers from their first frames, without loss."""
    if all((folder / f"{driver.name}.mkv").is_file() for driver in drivers):
        return
    format, name = variant.split("/")
    with Session.open(bundle, format, name, threads=1) as session:
        for driver in drivers:
            session.set_photo(driver.frames[0])
            write_clip(folder / f"{driver.name}.mkv", session.animate(driver.frames))
    print(f"performed {len(drivers)} clips: {variant}", flush=True)


def scored(
    bundle: Bundle, variants: Sequence[str], clips: Sequence[Clip], count: int, options: Any
) -> dict[str, dict[str, float]]:
    """Return, by variant, keypoint and expression errors and their ratio to those of float."""
    folder = options.out / f"performed-{files_digest(bundle, (REFERENCE, *variants))}-{count}"
    drivers = [Driver.of(clip, count) for clip in clips]
    for driver in drivers:
        write_clip(folder / "target" / f"{driver.name}.mkv", driver.frames)
    pairs = []
    for variant in (REFERENCE, *variants):
        own = folder / variant.replace("/", "-")
        perform(bundle, variant, drivers, own)
        for driver in drivers:
            out, target = (str(place / f"{driver.name}.mkv") for place in (own, folder / "target"))
            pairs.append({"kind": "self", "out": out, "target": target})
    listing = folder / "PAIRS.json"
    atomic.write_bytes(listing, json.dumps(pairs, indent=1).encode())
    rows = score(listing, options.scorer, folder / "scores.jsonl")
    each = len(drivers)
    groups = [rows[k * each : (k + 1) * each] for k in range(len(variants) + 1)]
    return {
        variant: against_float(group, groups[0])
        for variant, group in zip(variants, groups[1:], strict=True)
    }


def against_float(
    rows: Sequence[Mapping[str, Any]], floats: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Return mean errors, and their ratio to float's, over the clips where both show a face."""
    found = {"scored_frames": float(sum(row["frames"] for row in rows))}
    for figure in MOST_OF_FLOAT:
        both = [(a[figure], b[figure]) for a, b in zip(rows, floats, strict=True) if figure in a]
        ours, real = np.mean(both, 0)
        found |= {figure: float(ours), f"{figure}_of_float": float(ours / real)}
    found["missing"] = float(np.mean([row["missing"] for row in rows]))
    found["missing_in_float"] = float(np.mean([row["missing"] for row in floats]))
    return found


def portrait_faults(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return every portrait bound that is missed, in words."""
    missed = []
    for variant, figures in found.items():
        for figure, most in MOST_OF_FLOAT.items():
            ratio = figures[f"{figure}_of_float"]
            if not ratio <= most:
                missed.append(f"{variant}: {figure} {ratio:.3f} of float's, bound {most:g}")
        if figures["missing"] > figures["missing_in_float"] + MISSING_MORE:
            shares = f"{figures['missing']:.3f}, float's {figures['missing_in_float']:.3f}"
            missed.append(f"{variant}: share of frames without a face {shares}")
    return missed


def portraits(bundle: Bundle, options: Any) -> dict[str, dict[str, float]]:
    """Return portrait figures of every format's variant."""
    if not options.clip_frames:
        return {}
    clips = HeldOut.read(options.data, origin="footage").clips[: options.clips]
    chosen = [f"{f}/{name}" for f, name in quantized_variants(bundle) if name == PERFORMED]
    return scored(bundle, chosen, clips, options.clip_frames, options)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "quantization")
    parser.add_argument("--weights", type=Path, help="to export; the shipped ones by default")
    parser.add_argument("--bundle", type=Path, help="with fp32 and quantized variants; as it is")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--calibration", type=Path, help="clips; those of the train split")
    parser.add_argument("--scorer", type=Path, default=SHARED / "score" / "score.py")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--clips", type=int, help="only so many clips to perform: a quick look")
    parser.add_argument("--clip-frames", type=int, default=CLIP_FRAMES)
    return parser.parse_args()


def main() -> int:
    """Run."""
    options = parsed()
    calibration = options.calibration or options.data / "train"
    made = options.bundle or make_bundle(options.out, options.weights, calibration)
    with Bundle.open(made) as bundle:
        rows, apart = measure(bundle, options.data, options.frames, kept=options.out / "kept")
        found = portraits(bundle, options)
        facts = {"model": bundle.manifest.model, "tools": bundle.manifest.tools}
    for variant, figures in found.items():
        print(f"{variant}: " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    print(table(rows, apart))
    missed = [*faults(rows, apart), *portrait_faults(found)]
    print("\n".join(f"MISSED  {line}" for line in missed) or "PASS  every bound is kept")
    record: dict[str, Any] = {
        "schema_version": 1,
        **facts,
        "variants": rows,
        "apart_db": apart,
        "portraits": found,
        "missed": missed,
    }
    content = json.dumps(record, indent=2).encode() + b"\n"
    atomic.write_bytes(options.out / "figures.json", content)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
