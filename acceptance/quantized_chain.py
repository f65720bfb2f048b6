"""What quantized variants lose and gain: dB of the whole chain on scored footage, bytes, speed.

    python acceptance/quantized_chain.py BUNDLE [--reference B] [--data DIR] [--frames N] [--json J]

BUNDLE holds fp32 and quantized variants (`pocketportrait quantize`). DIR holds manifest.json and
val/clips. Every frame is animated from its clip's first frame by each variant and by onnx/fp32 (that of
another bundle, if one is named), and compared inside the clip's face box, peak 1. Speeds are of one
thread, fp32 and variant in turns in one run, for `motion` + `render`. An evaluator (Core ML outside
macOS) draws fewer frames and is not timed. Exit 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.media.video import VideoReader
from pocketportrait.quantize.calibration import as_tensor
from pocketportrait.quantize.comparison import FACE_BOX, Chain, Pair, face_psnr_db, variant_bytes
from pocketportrait.quantize.judging import MOST_DB
from pocketportrait.runtime.runner import choose_runner, is_emulated
from pocketportrait.validation.latency import measure_variant

ROOT = Path(__file__).resolve().parent.parent
LEAST_DB = {"w8": 45.0, "w8a8": 33.0, "mixed": 38.0}
MOST_SPREAD_DB = 3.0  # between the formats of one recipe, on the frames that all of them drew
MOST_BYTES = {"w8a8": 0.32}  # of fp32
LEAST_SPEED = {("tflite", "w8a8"): 2.0, ("onnx", "w8a8"): 1.5}
LEAST_SHARE = {"mixed": 0.90}  # of the MACs of convolutions outside of the branch, in integers
BRANCH = ("flow.", "refine.", "embed.", "guide")  # makes displacements and masks
ROUNDS = 5
FRAMES, EMULATED_FRAMES = 504, 56  # of 28 clips

Box = tuple[float, float, float, float]
Variant = tuple[str, str]  # format and recipe
Progress = Callable[[str], None]


def footage(data: Path, count: int) -> tuple[list[Pair], list[Box]]:
    """Return pairs of first frames and driving frames, spread over the val footage, and face boxes."""
    listed = json.loads((data / "manifest.json").read_text())["clips"]
    clips = [c for c in listed if c["split"] == "val" and c["origin"] == "footage"]
    pairs: list[Pair] = []
    boxes: list[Box] = []
    each = -(-count // len(clips))
    for clip in clips[: min(len(clips), count)]:
        frames = [frame.rgb for frame in VideoReader(data / clip["file"]).frames()]
        photo = as_tensor(frames[0])
        box = clip.get("box_mean", FACE_BOX)
        for index in np.linspace(len(frames) // (each + 1), len(frames) - 1, each).astype(int):
            pairs.append((photo, as_tensor(frames[index])))
            boxes.append((box[0], box[1], box[2], box[3]))
    return pairs[:count], boxes[:count]


def quality(
    bundle: Bundle,
    variants: Sequence[Variant],
    pairs: Sequence[Pair],
    boxes: Sequence[Box],
    emulated_frames: int = EMULATED_FRAMES,
    reference: Bundle | None = None,
    progress: Progress = lambda step: None,
) -> dict[Variant, Array]:
    """Return the dB of every frame for every variant; NaN where an evaluator left a frame out."""
    progress("onnx/fp32")
    with Chain(reference or bundle, "onnx", "fp32") as chain:
        wanted = [chain.animate(*pair) for pair in pairs]
    few = np.unique(np.linspace(0, len(pairs) - 1, min(emulated_frames, len(pairs))).astype(int))
    found = {}
    for format, name in variants:
        progress(f"{format}/{name}")
        scores = np.full(len(pairs), np.nan)
        with Chain(bundle, format, name) as chain:
            for k in few if is_emulated(choose_runner(format)) else range(len(pairs)):
                score = face_psnr_db(wanted[k], chain.animate(*pairs[k]), boxes[k])
                scores[k] = min(score, MOST_DB)  # equal pictures have no noise at all
        found[format, name] = scores
    return found


def speed(bundle: Bundle, format: str, name: str) -> tuple[float, float]:
    """Return the best milliseconds a frame of fp32 and of a variant, measured in turns."""
    best = {"fp32": float("inf"), name: float("inf")}
    runner = choose_runner(format)
    for _ in range(ROUNDS):
        for variant in best:
            measured = measure_variant(
                bundle, format, variant, runner, warmup=3, repeats=15, threads=1
            )
            best[variant] = min(best[variant], measured.frame_ms)
    return best["fp32"], best[name]


def conv_share(bundle: Bundle, format: str, name: str) -> float:
    """Return the share of convolutions' MACs outside of the branch that computes in integers."""
    from pocketportrait.quantize.layers import read_layers

    read = bundle.variant(format, name).quantization["read_back"]
    total = integer = 0
    for graph in GRAPHS:
        path = bundle.file(bundle.variant("onnx", "fp32").graphs[graph].path)
        for layer in read_layers(path):
            branch = graph == "render" and layer.name.startswith(BRANCH)
            if layer.kind == "conv" and not branch:
                total += layer.macs
                integer += 0 if layer.name in read[graph]["float_layers"] else layer.macs
    return integer / total


def row(bundle: Bundle, format: str, name: str, scores: Array) -> dict[str, Any]:
    """Return all figures of one variant."""
    seen = scores[np.isfinite(scores)]
    quantization = bundle.variant(format, name).quantization
    found: dict[str, Any] = {
        "variant": f"{format}/{name}",
        "frames": len(seen),
        "db": float(seen.mean()),
        "worst_db": float(seen.min()),
        "bytes": variant_bytes(bundle, format, name) / variant_bytes(bundle, format, "fp32"),
        "conv_share": conv_share(bundle, format, name),
        "differences": quantization["differences"],
    }
    if not is_emulated(choose_runner(format)):
        before, after = speed(bundle, format, name)
        found |= {"fp32_ms": before, "ms": after, "speed": before / after}
    return found


def spreads(scores: Mapping[Variant, Array]) -> dict[str, float]:
    """Return, by recipe, how many dB its formats lie apart on the frames that all of them drew."""
    found = {}
    for name in dict.fromkeys(name for _, name in scores):
        stacked = np.stack([values for (_, recipe), values in scores.items() if recipe == name])
        means = stacked[:, np.isfinite(stacked).all(0)].mean(1)
        found[name] = float(np.ptp(means))
    return found


def faults(rows: Sequence[Mapping[str, Any]], apart: Mapping[str, float]) -> list[str]:
    """Return every bound that is missed, in words."""
    missed = []
    for one in rows:
        format, name = one["variant"].split("/")
        bounds = [
            ("db", one["db"], LEAST_DB.get(name), 1),
            ("bytes", one["bytes"], MOST_BYTES.get(name), -1),
            ("speed", one.get("speed"), LEAST_SPEED.get((format, name)), 1),
            ("conv share", one["conv_share"], LEAST_SHARE.get(name), 1),
        ]
        for figure, value, bound, sign in bounds:
            if value is not None and bound is not None and sign * (value - bound) < 0:
                missed.append(f"{one['variant']}: {figure} {value:.3g}, bound {bound:g}")
        missed += [f"{one['variant']}: {line}" for line in one["differences"]]
    for name, value in apart.items():
        if value > MOST_SPREAD_DB:
            missed.append(f"{name}: formats are {value:.1f} dB apart, bound {MOST_SPREAD_DB:g}")
    return missed


def quantized_variants(bundle: Bundle, formats: Sequence[str] | None = None) -> list[Variant]:
    """Return the variants of a bundle that a recipe made."""
    return [
        (format, name)
        for format, by in bundle.manifest.variants.items()
        for name, variant in by.items()
        if variant.quantization and (not formats or format in formats)
    ]


def table(rows: Sequence[Mapping[str, Any]], apart: Mapping[str, float]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        "| variant | frames | dB | worst dB | bytes / fp32 | conv MACs in int8 | ms | speed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rows:
        timed = "- | -"
        if "ms" in one:
            timed = f"{one['fp32_ms']:.1f} to {one['ms']:.1f} | {one['speed']:.2f} x"
        lines.append(
            f"| {one['variant']} | {one['frames']} | {one['db']:.1f} | {one['worst_db']:.1f}"
            f" | {one['bytes']:.3f} | {one['conv_share']:.0%} | {timed} |"
        )
    apart_words = ", ".join(f"{name} {value:.1f} dB" for name, value in apart.items())
    return "\n".join([*lines, "", f"formats apart: {apart_words}"])


def measure(
    bundle: Bundle,
    data: Path,
    frames: int = FRAMES,
    emulated_frames: int = EMULATED_FRAMES,
    formats: Sequence[str] | None = None,
    reference: Bundle | None = None,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the figures of all quantized variants of a bundle, and how far formats lie apart.

    Args:
        bundle: holds fp32 and quantized variants.
        data: holds manifest.json and val/clips.
        frames: to draw.
        emulated_frames: of them, to draw with an evaluator.
        formats: only these.
        reference: another bundle, whose fp32 chain is the truth.

    """

    def say(step: str) -> None:
        print(f"drawing {frames} frames: {step}", flush=True)

    pairs, boxes = footage(data, frames)
    variants = quantized_variants(bundle, formats)
    scores = quality(bundle, variants, pairs, boxes, emulated_frames, reference, say)
    return [row(bundle, *variant, scores[variant]) for variant in variants], spreads(scores)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--emulated-frames", type=int, default=EMULATED_FRAMES)
    parser.add_argument("--format", action="append", help="only this format; may be repeated")
    parser.add_argument("--reference", type=Path, help="a bundle whose fp32 chain is the truth")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth = options.reference or options.bundle
    with Bundle.open(options.bundle) as bundle, Bundle.open(truth) as reference:
        rows, apart = measure(
            bundle,
            options.data,
            options.frames,
            options.emulated_frames,
            options.format,
            reference,
        )
    print(table(rows, apart))
    missed = faults(rows, apart)
    print("\n".join(f"MISSED  {line}" for line in missed) or "PASS  every bound is kept")
    if options.json:
        content = {"rows": rows, "apart_db": apart, "missed": missed}
        atomic.write_bytes(options.json, json.dumps(content, indent=2).encode() + b"\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
