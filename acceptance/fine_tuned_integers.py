"""Acceptance of fine-tuning with rounded numbers: what `w8a8` files gain by it.

    python acceptance/fine_tuned_integers.py --labels L [--out DIR] [--data DIR] [--frames N]

Exports the shipped weights, fine-tunes them (`pocketportrait qat`), and quantizes both students by `w8a8`
with one calibration set, the fine-tuned one by its learnt ranges. Every format then draws scored footage,
and is compared inside face boxes with the float student that both began with, peak 1. No bundle is marked:
every student's mark is its own, and two marks are 42 dB apart. L holds the labels of DATA/train
(`pocketportrait label`). Exit 1 if a format gains less than it must. Writes figures.json. A run that was
stopped goes on where it stood.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from quantization import run
from quantized_chain import Variant, footage, quality, quantized_variants
from score_environment import ROOT
from self_reenactment import SHARED

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.export.shipped import export_weights
from pocketportrait.models.weights import shipped_weights
from pocketportrait.quantize.qat import RANGES

RECIPE = "w8a8"
LEAST_GAIN_DB = 2.0
FRAMES = 84  # of 28 clips


def exported(weights: Path, out: Path) -> Path:
    """Export weights in float, in every format, without a mark."""
    export_weights(weights, out, precisions=("fp32",), mark=None).close()
    return out


def gains(start: Bundle, plain: Bundle, tuned: Bundle, options: Any) -> dict[str, dict[str, float]]:
    """Return, by format, dB and worst dB before and after, and what was gained."""
    pairs, boxes = footage(options.data, options.frames)
    found: dict[str, dict[str, float]] = {}
    for name, bundle in (("before", plain), ("after", tuned)):
        variants: list[Variant] = quantized_variants(bundle)
        scores = quality(bundle, variants, pairs, boxes, start, options.out / "kept", print)
        for (format, _), values in scores.items():
            figures = {f"{name}_db": float(values.mean()), f"{name}_worst_db": float(values.min())}
            found[format] = found.get(format, {}) | figures
    return {f: {**of, "gain_db": of["after_db"] - of["before_db"]} for f, of in found.items()}


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fine-tuned")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--labels", type=Path, required=True, help="of DATA/train")
    parser.add_argument("--cache", type=Path, help="decoded frames")
    parser.add_argument("--plan", type=Path, help="phases of the fine-tuning as JSON")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--frames", type=int, default=FRAMES)
    return parser.parse_args()


def main() -> int:
    """Run."""
    options = parsed()
    out, train = options.out, options.data / "train"
    start = exported(shipped_weights(), out / "start")
    told = {"cache": options.cache, "plan": options.plan, "threads": options.threads}
    said = [word for name, value in told.items() if value for word in (f"--{name}", str(value))]
    run("qat", start, "--data", train, "--labels", options.labels, "-o", out / "qat", *said)
    after = exported(out / "qat" / "student.safetensors", out / "student")
    chosen = out / "calibration.json"
    run("quantize", start, "-r", RECIPE, "-o", out / "plain", "--calibration", train,
        "--write-set", chosen)  # fmt: skip
    run("quantize", after, "-r", RECIPE, "-o", out / "tuned", "--calibration", chosen,
        "--ranges", out / "qat" / RANGES)  # fmt: skip
    with (
        Bundle.open(start) as truth,
        Bundle.open(out / "plain") as plain,
        Bundle.open(out / "tuned") as tuned,
    ):
        found = gains(truth, plain, tuned, options)
    for format, figures in found.items():
        print(f"{format}: " + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    missed = [
        f"{format}: gain {figures['gain_db']:.2f} dB, bound {LEAST_GAIN_DB:g}"
        for format, figures in found.items()
        if figures["gain_db"] < LEAST_GAIN_DB
    ]
    print("\n".join(f"MISSED  {line}" for line in missed) or "PASS  every format gains enough")
    record = {"schema_version": 1, "frames": options.frames, "formats": found, "missed": missed}
    atomic.write_bytes(out / "figures.json", json.dumps(record, indent=2).encode() + b"\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
