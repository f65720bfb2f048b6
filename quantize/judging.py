"""What a trial is worth: dB against the fp32 chain, bytes, milliseconds, and portrait figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.errors import InputError
from pocketportrait.quantize.calibration import as_tensor, clips_in, frames_of
from pocketportrait.quantize.comparison import (
    Chain,
    Pair,
    face_psnr_db,
    golden_pairs,
    reference_of,
    variant_bytes,
)
from pocketportrait.quantize.counting import InstructionCounter
from pocketportrait.runtime.runner import choose_runner, is_emulated
from pocketportrait.validation.latency import measure_variant
from pocketportrait.validation.portrait_evaluation import EvaluationOptions, evaluate

MOST_DB = 100.0  # equal pictures; float32's own noise lies near it
SCREEN_NOISE = 1 / 12 / 255**2  # mean square error of a picture rounded to 8 bits
ROUNDS, WARMUP, REPEATS = 3, 3, 10
# portrait figures by how much a trial loses of them: errors grow, likenesses fall
ERRORS = ("l1", "akd_px", "aed", "apd_deg")
LIKENESSES = ("psnr_db", "ssim", "csim")


class Figures(BaseModel):
    """What one trial is worth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    psnr_db: float  # mean over frames, against the fp32 chain, inside the face box, peak 1
    worst_db: float  # of the worst frame
    lost_db: float  # below the fp32 picture as 8-bit screens show it
    bytes: int  # of the variant's files
    frame_ms: float | None = None  # motion and render, one thread; None where nothing was timed
    frame_instructions: int | None = None  # motion and render, emulated; None where not counted
    portrait_lost: dict[str, float] = {}  # against the real frames, trial minus fp32; more is worse


@dataclass(frozen=True, slots=True)
class Portrait:
    """Held-out clips to score whole variants on, and the face models that read them."""

    data: Path
    score_models: Path | None = None
    score_python: Path | None = None
    frames: int | None = None  # of each clip
    clips: tuple[str, ...] = ()
    split: str = "val"


class Judge:
    """Compares trials with the fp32 chain, whose pictures are made once."""

    def __init__(
        self,
        bundle: Bundle,
        scratch: Path,
        *,
        pairs: Sequence[Pair] = (),
        portrait: Portrait | None = None,
        timed: bool = True,
        counter: InstructionCounter | None = None,
    ) -> None:
        """Run the fp32 chain.

        Args:
            bundle: has an fp32 variant.
            scratch: folder for records and sheets of portrait figures.
            pairs: photos and frames; those of the golden vectors by default.
            portrait: also measure portrait figures; takes minutes a trial.
            timed: measure milliseconds, where the format's runner is no evaluator.
            counter: also counts the instructions of a frame; takes a minute a trial.

        """
        self._bundle, self._scratch, self._portrait, self._timed = bundle, scratch, portrait, timed
        self._counter = counter
        self._pairs = list(pairs) or golden_pairs(bundle)
        self._reference = reference_of(bundle)
        with Chain(bundle, *self._reference) as chain:
            self._wanted = [chain.animate(*pair) for pair in self._pairs]
        self._real: dict[str, float] | None = None

    @property
    def num_pairs(self) -> int:
        """Return how many pairs are compared."""
        return len(self._pairs)

    def look(self, trial: Bundle, format: str, name: str) -> Figures:
        """Return the figures of a variant."""
        psnr_db, worst_db, lost_db = self._quality(trial, format, name)
        return Figures(
            psnr_db=psnr_db,
            worst_db=worst_db,
            lost_db=lost_db,
            bytes=variant_bytes(trial, format, name),
            frame_ms=frame_ms(trial, format, name) if self._timed else None,
            frame_instructions=self._counter.of_frame(trial, format, name)
            if self._counter
            else None,
            portrait_lost=self._portrait_lost(trial, format, name),
        )

    def _quality(self, trial: Bundle, format: str, name: str) -> tuple[float, float, float]:
        with Chain(trial, format, name) as chain:
            scores = [
                min(face_psnr_db(want, chain.animate(*pair)), MOST_DB)
                for want, pair in zip(self._wanted, self._pairs, strict=True)
            ]
        noise = float(np.mean(np.power(10.0, -np.asarray(scores) / 10)))
        return float(np.mean(scores)), min(scores), 10 * math.log10(1 + noise / SCREEN_NOISE)

    def _portrait_lost(self, trial: Bundle, format: str, name: str) -> dict[str, float]:
        if self._portrait is None:
            return {}
        if self._real is None:
            self._real = self._evaluate(self._bundle.root, *self._reference)
        found = self._evaluate(trial.root, format, name)
        lost = {k: found[k] - self._real[k] for k in ERRORS if k in found and k in self._real}
        lost |= {k: self._real[k] - found[k] for k in LIKENESSES if k in found and k in self._real}
        return lost

    def _evaluate(self, bundle: Path, format: str, precision: str) -> dict[str, float]:
        assert self._portrait is not None
        options = EvaluationOptions(
            out=self._scratch / "evaluation",
            format=format,
            precision=precision,
            threads=1,
            drift_frames=0,
            **dataclasses.asdict(self._portrait),
        )
        record = evaluate(bundle, options)
        return dict(next(s for s in record.summaries if s.kind == "self").means)


def frame_ms(bundle: Bundle, format: str, name: str) -> float | None:
    """Return the best median of some rounds, one thread; None where an evaluator stands in."""
    runner = choose_runner(format)
    if is_emulated(runner):
        return None
    rounds = [
        measure_variant(bundle, format, name, runner, warmup=WARMUP, repeats=REPEATS, threads=1)
        for _ in range(ROUNDS)
    ]
    return min(one.frame_ms for one in rounds)


def judged_pairs(folder: Path, count: int, side: int) -> tuple[list[Pair], frozenset[str]]:
    """Return pairs of first frames and driving frames of the clips in a folder, spread evenly.

    Args:
        folder: with framed clips, directly or in `clips/`.
        count: pairs in all.
        side: pixels of the pictures.

    Returns:
        The pairs, and the sha256 of the clips that they come from.

    Raises:
        InputError: no clips, or none of at least two frames.

    """
    clips = clips_in(folder)
    clips = [clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, count).astype(int))]
    each = -(-count // len(clips))
    pairs: list[Pair] = []
    for clip in clips:
        pictures = [as_tensor(picture) for _, picture in frames_of(clip, side)]
        if len(pictures) > 1:
            # not from the start: a frame beside its photo says little
            first = max(1, len(pictures) // (each + 1))
            chosen = np.linspace(first, len(pictures) - 1, each).astype(int)
            pairs += [(pictures[0], pictures[index]) for index in chosen]
    if not pairs:
        raise InputError(f"{folder}: want clips of at least two frames to judge on, got none")
    return pairs[:count], frozenset(sha256_of(clip) for clip in clips)


def judged_pairs_of(
    source: Path, folder: Path | None, count: int
) -> tuple[list[Pair], frozenset[str]]:
    """Return `judged_pairs` of a bundle's size, none without a folder.

    Raises:
        InputError: as `judged_pairs`, or no bundle.

    """
    if folder is None:
        return [], frozenset()
    with Bundle.open(source) as bundle:
        side = bundle.graph_spec("motion").inputs[0].shape[-1]
    return judged_pairs(folder, count, side)
