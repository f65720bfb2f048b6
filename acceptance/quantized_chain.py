"""What quantized variants lose and gain: dB of the whole chain on scored footage, bytes, speed.

    python acceptance/quantized_chain.py BUNDLE [--reference B] [--data DIR] [--frames N] [--json J]

BUNDLE holds fp32 and quantized variants (`pocketportrait quantize`). DIR holds manifest.json and
val/clips. Every frame is animated from its clip's first frame by each variant and by onnx/fp32 (that of
another bundle, if one is named), and compared inside the clip's face box, peak 1. Speeds are of
`motion` + `render` on one thread, fp32 and variant pass by pass in turns: CPU time of that thread, so
that waiting for other work does not count, and of all turns the tenth percentile. An evaluator (Core ML
outside macOS) is not timed. With --kept, scores that were measured before are not measured again.
Exit 1 if a bound is missed.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
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
from pocketportrait.runtime.runner import choose_runner, is_emulated, open_runner
from pocketportrait.validation.samples import golden_samples

ROOT = Path(__file__).resolve().parent.parent
LEAST_DB = {"w8": 45.0, "w8a8": 33.0, "mixed": 38.0}
MOST_SPREAD_DB = 3.0  # between the formats of one recipe
MOST_BYTES = {"w8a8": 0.32}  # of fp32
LEAST_SPEED = {("tflite", "w8a8"): 2.0, ("onnx", "w8a8"): 1.5}
LEAST_SHARE = {"mixed": 0.90}  # of the MACs of convolutions outside of the branch, in integers
BRANCH = ("flow.", "refine.", "embed.", "guide")  # makes displacements and masks
TURNS, WARMUP, PERCENTILE = 100, 5, 10
FRAMES = 504  # of 28 clips

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
    reference: Bundle | None = None,
    kept: Path | None = None,
    progress: Progress = lambda step: None,
) -> dict[Variant, Array]:
    """Return the dB of every frame for every variant.

    Args:
        bundle: holds the variants.
        variants: format and recipe.
        pairs: photos and frames.
        boxes: of the face in each frame.
        reference: another bundle, whose fp32 chain is the truth.
        kept: folder of scores that were measured before, by all that they depend on.
        progress: told before each variant.

    """
    truth = reference or bundle
    wanted: list[Array] = []
    found = {}
    for format, name in variants:
        files = files_digest(truth, ["onnx/fp32"]), files_digest(bundle, [f"{format}/{name}"])
        path = kept and kept / f"scores-{'-'.join(files)}-{_pictures_digest(pairs)}.npy"
        if path and path.is_file():
            found[format, name] = np.load(path)
            continue
        if not wanted:
            progress("onnx/fp32")
            with Chain(truth, "onnx", "fp32") as chain:
                wanted = [chain.animate(*pair) for pair in pairs]
        progress(f"{format}/{name}")
        with Chain(bundle, format, name) as chain:
            scores = [
                min(face_psnr_db(want, chain.animate(*pair), box), MOST_DB)  # equal ones: no noise
                for want, pair, box in zip(wanted, pairs, boxes, strict=True)
            ]
        found[format, name] = np.array(scores)
        if path:
            with atomic.replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, found[format, name])
    return found


def files_digest(bundle: Bundle, variants: Sequence[str]) -> str:
    """Return a short digest of the files of some variants, such as `onnx/fp32`."""
    found = hashlib.sha256()
    for variant in variants:
        for graph in bundle.variant(*variant.split("/")).graphs.values():
            for name in bundle.manifest.files_of(graph.path):
                found.update(bundle.manifest.files[name].sha256.encode())
    return found.hexdigest()[:12]


def _pictures_digest(pairs: Sequence[Pair]) -> str:
    found = hashlib.sha256()
    for _, frame in pairs:
        found.update(frame.tobytes())
    return found.hexdigest()[:12]


def speed(bundle: Bundle, format: str, name: str) -> tuple[float, float]:
    """Return CPU milliseconds a frame of fp32 and of a variant, measured pass by pass in turns."""
    variants = ("fp32", name)
    taken: dict[str, list[float]] = {variant: [] for variant in variants}
    with ExitStack() as stack:
        passes = {v: _frame_passes(stack, bundle, format, v) for v in variants}
        for turn in range(WARMUP + TURNS):
            for variant in variants:
                start = time.thread_time()
                for one in passes[variant]:
                    one()
                if turn >= WARMUP:
                    taken[variant].append((time.thread_time() - start) * 1e3)
    before, after = (float(np.percentile(taken[v], PERCENTILE)) for v in variants)
    return before, after


def _frame_passes(
    stack: ExitStack, bundle: Bundle, format: str, name: str
) -> list[Callable[[], object]]:
    """Return what a driving frame costs: a pass of `motion` and one of `render`."""
    passes: list[Callable[[], object]] = []
    for graph in ("motion", "render"):
        sample = next(golden_samples(bundle, graph))
        held = {k: v for k, v in sample.feed.items() if k.startswith("features")}
        held |= {k: v for k, v in sample.feed.items() if k == "source_code"}
        feed = {k: v for k, v in sample.feed.items() if k not in held}
        runner = stack.enter_context(open_runner(bundle, format, name, graph, threads=1))
        runner.bind(held)  # what belongs to the photo does not change from frame to frame
        passes.append(functools.partial(runner.infer, feed))
    return passes


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
    quantization = bundle.variant(format, name).quantization
    found: dict[str, Any] = {
        "variant": f"{format}/{name}",
        "frames": len(scores),
        "db": float(scores.mean()),
        "worst_db": float(scores.min()),
        "bytes": variant_bytes(bundle, format, name) / variant_bytes(bundle, format, "fp32"),
        "conv_share": conv_share(bundle, format, name),
        "differences": quantization["differences"],
    }
    if not is_emulated(choose_runner(format)):
        before, after = speed(bundle, format, name)
        found |= {"fp32_ms": before, "ms": after, "speed": before / after}
    return found


def spreads(scores: Mapping[Variant, Array]) -> dict[str, float]:
    """Return, by recipe, how many dB its formats lie apart."""
    found = {}
    for name in dict.fromkeys(name for _, name in scores):
        means = [values.mean() for (_, recipe), values in scores.items() if recipe == name]
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
    formats: Sequence[str] | None = None,
    reference: Bundle | None = None,
    kept: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the figures of all quantized variants of a bundle, and how far formats lie apart.

    Args:
        bundle: holds fp32 and quantized variants.
        data: holds manifest.json and val/clips.
        frames: to draw.
        formats: only these.
        reference: another bundle, whose fp32 chain is the truth.
        kept: folder of scores that were measured before.

    """

    def say(step: str) -> None:
        print(f"drawing {frames} frames: {step}", flush=True)

    pairs, boxes = footage(data, frames)
    variants = quantized_variants(bundle, formats)
    scores = quality(bundle, variants, pairs, boxes, reference, kept, say)
    return [row(bundle, *variant, scores[variant]) for variant in variants], spreads(scores)


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--format", action="append", help="only this format; may be repeated")
    parser.add_argument("--reference", type=Path, help="a bundle whose fp32 chain is the truth")
    parser.add_argument("--kept", type=Path, help="folder of scores, to go on where a run stood")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth = options.reference or options.bundle
    with Bundle.open(options.bundle) as bundle, Bundle.open(truth) as reference:
        rows, apart = measure(
            bundle,
            options.data,
            options.frames,
            options.format,
            reference,
            options.kept,
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
