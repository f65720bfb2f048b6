"""Variants side by side: quality against the fp32 chain, bytes, milliseconds, parity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.runner import choose_runner, is_emulated, open_runner
from pocketportrait.validation.latency import measure_variant
from pocketportrait.validation.parity import Parity

REFERENCE = ("onnx", "fp32")
# left, top, right, bottom of the usual face in a crop of 1.9 times its box, moved up by 0.08
FACE_BOX = (0.24, 0.27, 0.76, 0.80)
WARMUP, REPEATS = 3, 10

Pair = tuple[Array, Array]  # photo and driving frame, contract tensors


@dataclass(frozen=True, slots=True)
class Compared:
    """One variant's figures."""

    bundle: str
    variant: str
    bytes: int
    quality_db: float  # mean PSNR of the chain against the fp32 chain inside the face box, peak 1
    worst_db: float  # of the worst frame
    parity_db: float  # worst PSNR of the graphs' own outputs on golden inputs
    frame_ms: float | None  # motion and render; None where an evaluator stands in

    def cells(self) -> tuple[str, ...]:
        """Return the figures as words for a table."""
        ms = "-" if self.frame_ms is None else f"{self.frame_ms:.2f}"
        figures = (f"{v:.1f}" for v in (self.quality_db, self.worst_db, self.parity_db))
        return (self.bundle, self.variant, f"{self.bytes / 1e6:.2f}", *figures, ms)


HEADINGS = ("bundle", "variant", "MB", "dB", "worst dB", "parity dB", "frame ms")


class Chain:
    """The three graphs of one variant, run one after the other as a session does."""

    def __init__(self, bundle: Bundle, format: str, precision: str) -> None:
        """Choose the files; entering loads them."""
        self._runners: dict[str, ContractRunner] = {
            graph: open_runner(bundle, format, precision, graph, threads=1) for graph in GRAPHS
        }
        self._stack = ExitStack()
        self._photo: Array | None = None  # whose features `render` holds

    def __enter__(self) -> Chain:
        """Load all graphs."""
        for runner in self._runners.values():
            self._stack.enter_context(runner)
        return self

    def __exit__(self, *_: object) -> None:
        """Free all graphs."""
        self._photo = None
        self._stack.close()

    def animate(self, photo: Array, frame: Array) -> Array:
        """Return the photo performing the frame, [1, 3, H, W], absolute motion.

        A photo that is the very array of the call before is not encoded again.
        """
        motion, render = self._runners["motion"], self._runners["render"]
        if photo is not self._photo:
            source = {"source_code": motion.infer({"frame": photo})["code"]}
            render.bind(self._runners["appearance"].infer({"photo": photo}) | source)
            self._photo = photo
        code = motion.infer({"frame": frame})["code"]
        return render.infer({"driving_code": code})["image"]


def compare(
    bundles: Sequence[Path], *, pairs: Sequence[Pair] = (), formats: Sequence[str] | None = None
) -> Iterator[Compared]:
    """Yield the figures of every variant of some bundles.

    Args:
        bundles: folders or `.zip` files.
        pairs: photos and frames to judge quality on; those of the golden vectors by default.
        formats: only these; all by default.

    Raises:
        InputError: a bundle cannot be opened, or has no fp32 variant to compare with.

    """
    for path in bundles:
        with Bundle.open(path) as bundle:
            judged = pairs or golden_pairs(bundle)
            format, precision = reference_of(bundle)
            with Chain(bundle, format, precision) as chain:
                wanted = [chain.animate(*pair) for pair in judged]
            for name, by_precision in bundle.manifest.variants.items():
                for variant in by_precision if not formats or name in formats else ():
                    yield _compared(bundle, path.name, name, variant, judged, wanted)


def reference_of(bundle: Bundle) -> tuple[str, str]:
    """Return the fp32 variant that others are compared with.

    Raises:
        InputError: there is none.

    """
    held = [(f, p) for f, by in bundle.manifest.variants.items() for p in by]
    floats = [pair for pair in held if pair[1] == REFERENCE[1]]
    if not floats:
        names = ", ".join("/".join(pair) for pair in held) or "none"
        raise InputError(f"compare: want an fp32 variant to compare with, got {names}")
    return REFERENCE if REFERENCE in floats else floats[0]


def golden_pairs(bundle: Bundle) -> list[Pair]:
    """Return the photos and frames of a bundle's golden vectors.

    Raises:
        InputError: there are none.

    """
    photos = [vector["photo"] for vector in bundle.golden("appearance")]
    frames = [vector["frame"] for vector in bundle.golden("motion")]
    if not photos or not frames:
        raise InputError("compare: want golden vectors to judge quality on, got none; export again")
    return [(photos[i % len(photos)], frame) for i, frame in enumerate(frames)]


def _compared(
    bundle: Bundle,
    label: str,
    format: str,
    variant: str,
    pairs: Sequence[Pair],
    wanted: Sequence[Array],
) -> Compared:
    with Chain(bundle, format, variant) as chain:
        scores = [
            face_psnr_db(want, chain.animate(*pair))
            for want, pair in zip(wanted, pairs, strict=True)
        ]
    runner = choose_runner(format)
    frame_ms = None
    if not is_emulated(runner):
        measured = measure_variant(
            bundle, format, variant, runner, warmup=WARMUP, repeats=REPEATS, threads=1
        )
        frame_ms = measured.frame_ms
    return Compared(
        bundle=label,
        variant=f"{format}/{variant}",
        bytes=variant_bytes(bundle, format, variant),
        quality_db=float(np.mean(scores)),
        worst_db=float(min(scores)),
        parity_db=_parity_db(bundle, format, variant),
        frame_ms=frame_ms,
    )


def face_psnr_db(
    want: Array, got: Array, box: tuple[float, float, float, float] = FACE_BOX
) -> float:
    """Return the PSNR of two pictures [1, 3, H, W] inside a box, peak 1.

    Args:
        want: the reference.
        got: the candidate.
        box: left, top, right, bottom, 0..1.

    """
    side = want.shape[-1]
    left, top, right, bottom = (round(edge * side) for edge in box)
    inside = (..., slice(top, bottom), slice(left, right))
    return Parity.of(want[inside], got[inside], peak=1.0).psnr_db


def variant_bytes(bundle: Bundle, format: str, variant: str) -> int:
    """Return the bytes of all files of a variant."""
    manifest = bundle.manifest
    graphs = bundle.variant(format, variant).graphs.values()
    return sum(manifest.files[f].bytes for g in graphs for f in manifest.files_of(g.path))


def _parity_db(bundle: Bundle, format: str, variant: str) -> float:
    worst = float("inf")
    for graph in GRAPHS:
        spec = bundle.graph_spec(graph)
        with open_runner(bundle, format, variant, graph, threads=1) as runner:
            for vector in bundle.golden(graph):
                got = runner.infer({t.name: vector[t.name] for t in spec.inputs})
                found = [Parity.of(vector[t.name], got[t.name]).psnr_db for t in spec.outputs]
                worst = min(worst, *found)
    return worst
