"""`gates`: what a variant draws of held-out clips, held to what the fp32 variant draws of them.

Parity of tensors says that a file computes the same network; here its pictures are judged, and how they
move. A bound is the fp32 variant's own figure and a margin, so that a gate asks what a variant lost, not
how good the network is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.media.samples import samples_folder
from pocketportrait.media.video import VideoReader
from pocketportrait.runtime.animation import default_bundle
from pocketportrait.runtime.runner import choose_runner
from pocketportrait.validation.checks import Status
from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.portrait_actors import driver_frames
from pocketportrait.validation.portrait_clips import HeldOut
from pocketportrait.validation.portrait_evaluation import (
    EvaluationOptions,
    Progress,
    evaluate,
)
from pocketportrait.validation.portrait_faces import ReadsFaces
from pocketportrait.validation.portrait_gates_record import PortraitGate, PortraitGates
from pocketportrait.validation.portrait_pixels import PixelTally
from pocketportrait.validation.portrait_record import Evaluation
from pocketportrait.validation.report_pictures import worst
from pocketportrait.validation.report_record import BundleFacts, Picture, Report
from pocketportrait.validation.tolerance import arithmetic_of

LIKE_DB, LIKE_SSIM = "psnr_to_fp32_db", "ssim_to_fp32"
FLOAT_SHARE = 0.2  # of the margins, for variants that only round floats


@dataclass(frozen=True, slots=True)
class Margin:
    """What a quantized variant may lose of one figure."""

    figure: str
    side: Literal["at most", "at least"]
    share: float = 0.0  # of the fp32 variant's figure
    more: float = 0.0  # in the figure's own unit

    def bound(self, reference: float, part: float) -> float:
        """Return the bound, with `part` of the margin."""
        margin = part * (self.share * abs(reference) + self.more)
        return reference + margin if self.side == "at most" else reference - margin


MARGINS = (
    Margin("l1", "at most", share=0.10),
    Margin("psnr_db", "at least", more=0.5),
    Margin("ssim", "at least", more=0.02),
    Margin("akd_px", "at most", share=0.10, more=0.1),
    Margin("aed", "at most", share=0.10, more=0.05),
    Margin("apd_deg", "at most", share=0.10, more=0.2),
    Margin("csim", "at least", more=0.03),
    Margin("missing", "at most", more=0.02),
    Margin("flicker", "at most", more=0.15),
    Margin("flicker_error", "at most", share=0.10),
    Margin("drift_l1", "at most", more=0.002),
    Margin("drift_akd_px", "at most", more=0.2),
    Margin("drift_csim", "at least", more=0.02),
)
# the variant's frames against the fp32 variant's frames: (float, quantized)
LIKENESS = {LIKE_DB: (40.0, 24.0), LIKE_SSIM: (0.99, 0.85)}


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Which variants are judged, and on what."""

    out: Path
    data: Path | None = None  # the sample drivers by default
    formats: tuple[str, ...] = ()  # all by default
    precisions: tuple[str, ...] = ()
    split: str = "val"
    clips: tuple[str, ...] = ()
    frames: int | None = None
    drift_frames: int = 250
    threads: int | None = None
    score_models: Path | None = None
    score_python: Path | None = None


def portrait_gates(
    bundle: Path | None,
    options: GateOptions,
    *,
    reader: ReadsFaces | None = None,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Let every variant of a bundle perform held-out clips and judge it beside the fp32 variant.

    What was drawn, records and sheets lie below `options.out`, in a folder a variant.

    Args:
        bundle: a folder or `.zip`; the shipped one by default.
        options: see `GateOptions`.
        reader: reads faces instead of the models of `score_models`.
        progress: told after every variant.

    Raises:
        InputError: data or a bundle that cannot be used, or a bundle without an fp32 variant.
        MissingToolError: the fp32 variant cannot be run here.

    """
    start = time.perf_counter()
    path = bundle or default_bundle()
    with Bundle.open(path) as opened:
        reference, chosen = _variants(opened, options)
        job = _Job(path, options, reader)
        wanted = job.play(reference)
        rows, pictures = [], []
        for done, variant in enumerate(chosen):
            progress(done, len(chosen))
            try:
                choose_runner(variant[0])
                judged = job.judge(opened, variant, reference, wanted)
            except MissingToolError as error:
                rows.append(_skip(variant, "all figures", str(error)))
                continue
            rows += judged
            pictures.append(job.worst_frame(variant, reference))
        progress(len(chosen), len(chosen))
        gates = PortraitGates(
            bundle=path.name,
            reference="/".join(reference),
            data=job.data.name,
            clips=len(wanted.of("self")),
            machine=describe_machine(),
            seconds=time.perf_counter() - start,
            rows=tuple(rows),
        )
        facts = BundleFacts.of(opened)
    return Report(
        title="Pocket Portrait: portrait gates",
        bundles=(facts,),
        evaluations=job.evaluations,
        gates=(gates,),
        pictures=tuple(pictures),
    )


Variant = tuple[str, str]  # format, precision


def _variants(bundle: Bundle, options: GateOptions) -> tuple[Variant, list[Variant]]:
    held = [(f, p) for f, by in bundle.manifest.variants.items() for p in by]
    full = [v for v in held if v[1] == "fp32"]
    names = ", ".join("/".join(v) for v in held)
    if not full:
        raise InputError(
            f"gates: want a bundle with an fp32 variant, got {names}; export it with one"
        )
    reference = ("onnx", "fp32") if ("onnx", "fp32") in full else full[0]
    chosen = [
        (f, p)
        for f, p in held
        if (f, p) != reference
        and f in (options.formats or (f,))
        and p in (options.precisions or (p,))
    ]
    if not chosen:
        raise InputError(f"gates: want a variant beside {'/'.join(reference)}, got none of {names}")
    return reference, chosen


class _Job:
    """One run of the gates."""

    def __init__(self, bundle: Path, options: GateOptions, reader: ReadsFaces | None) -> None:
        self.data = options.data or samples_folder()
        self.evaluations: tuple[Evaluation, ...] = ()
        self._bundle, self._options, self._reader = bundle, options, reader
        held_out = HeldOut.read(self.data, split=options.split)
        self._clips = held_out.only(options.clips) if options.clips else held_out

    def play(self, variant: Variant) -> Evaluation:
        """Let a variant perform all clips, and keep what it draws."""
        options = self._options
        found = evaluate(
            self._bundle,
            EvaluationOptions(
                data=self.data,
                out=self._folder(variant),
                format=variant[0],
                precision=variant[1],
                threads=options.threads,
                split=options.split,
                clips=options.clips,
                frames=options.frames,
                drift_frames=options.drift_frames,
                score_models=options.score_models,
                score_python=options.score_python,
                keep_clips=True,
            ),
            reader=self._reader,
        )
        self.evaluations += (found,)
        return found

    def judge(
        self, bundle: Bundle, variant: Variant, reference: Variant, wanted: Evaluation
    ) -> list[PortraitGate]:
        """Return every gate of a variant."""
        found = self.play(variant)
        held = bundle.variant(*variant)
        float_only = arithmetic_of(variant[1], held.weights, held.activations) in (
            "float32",
            "float16",
        )
        rows = _relative(variant, wanted, found, FLOAT_SHARE if float_only else 1.0)
        tally = PixelTally()
        for index, (_, want, got) in enumerate(self._triples(variant, reference)):
            tally.add(index, got, want)
        likeness = {LIKE_DB: tally.figures()["psnr_db"], LIKE_SSIM: tally.figures()["ssim"]}
        for figure, value in likeness.items():
            bound = LIKENESS[figure][0 if float_only else 1]
            rows.append(_row(variant, figure, None, value, bound, "at least"))
        return rows

    def worst_frame(self, variant: Variant, reference: Variant) -> Picture:
        """Return the frame in which a variant is least like the reference."""
        triples = self._triples(variant, reference)
        driver, want, got = max(triples, key=lambda t: _squares(t[1], t[2]))
        psnr_db = float(-10 * np.log10(_squares(want, got) + 1e-10))
        return worst("/".join(variant), driver, want, got, psnr_db)

    def _triples(
        self, variant: Variant, reference: Variant
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Yield driver, fp32 and variant, frame by frame."""
        for clip in self._clips.clips:
            wanted, got = (
                VideoReader(self._folder(v) / "clips" / f"{clip.name}.mkv").frames()
                for v in (reference, variant)
            )
            drivers = driver_frames(clip, self._options.frames)
            for driver, one, other in zip(drivers, wanted, got, strict=True):
                yield driver, one.rgb, other.rgb

    def _folder(self, variant: Variant) -> Path:
        return self._options.out / "-".join(variant)


def _squares(one: Array, other: Array) -> float:
    return float((((one.astype(np.float64) - other) / 255) ** 2).mean())


def _relative(
    variant: Variant, wanted: Evaluation, found: Evaluation, part: float
) -> list[PortraitGate]:
    """Return the gates whose bound is the fp32 variant's figure and `part` of the margin."""
    reasons = {figure: skipped.reason for skipped in found.skipped for figure in skipped.figures}
    reference, own = _means(wanted), _means(found)
    rows = []
    for margin in MARGINS:
        figure = margin.figure
        if figure in reference and figure in own:
            bound = margin.bound(reference[figure], part)
            rows.append(_row(variant, figure, reference[figure], own[figure], bound, margin.side))
        elif figure in reference:
            row = _row(variant, figure, reference[figure], None, None, margin.side)
            message = "fp32 has this figure, this variant has none: no face in any frame?"
            rows.append(row.model_copy(update={"status": Status.FAIL, "message": message}))
        else:
            faces = reasons.get(figure) or reasons.get("akd_px")
            rows.append(_skip(variant, figure, faces or "these clips have no such figure"))
    return rows


def _means(record: Evaluation) -> dict[str, float]:
    return next(s.means for s in record.summaries if (s.kind, s.group) == ("self", "all"))


def _row(
    variant: Variant,
    figure: str,
    reference: float | None,
    value: float | None,
    bound: float | None,
    side: Literal["at most", "at least"],
) -> PortraitGate:
    row = PortraitGate(
        variant="/".join(variant),
        figure=figure,
        status=Status.PASS,
        reference=reference,
        value=value,
        bound=bound,
        side=side,
    )
    if value is None or bound is None:
        return row
    if value > bound if side == "at most" else value < bound:
        message = f"want {figure} {side} {bound:.4g}, got {value:.4g}"
        return row.model_copy(update={"status": Status.FAIL, "message": message})
    return row


def _skip(variant: Variant, figure: str, reason: str) -> PortraitGate:
    return PortraitGate(
        variant="/".join(variant), figure=figure, status=Status.SKIP, message=reason
    )
