"""`evaluate`: a model performs held-out clips, and every portrait figure is measured as it does.

Frames stream: what is held does not grow with a clip, only the drift test keeps a clip's beginning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.video_writer import VideoWriter
from pocketportrait.runtime.animation import default_bundle
from pocketportrait.runtime.session import Session
from pocketportrait.validation.face_reader import IDENTITY, LANDMARKER, FaceReader
from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.portrait import (
    DRIFT_FRAMES,
    FACE_FIGURES,
    SIDE_PX,
    Kind,
    PortraitTally,
    drift,
)
from pocketportrait.validation.portrait_actors import (
    Actor,
    ModelActor,
    RecordedActor,
    driver_frames,
)
from pocketportrait.validation.portrait_clips import Clip, HeldOut, choose_pairs
from pocketportrait.validation.portrait_faces import ReadsFaces
from pocketportrait.validation.portrait_record import (
    ClipFigures,
    Evaluation,
    Skipped,
    find_worst,
    summarize,
)
from pocketportrait.validation.portrait_sheets import Liveliest, Sheets

MOVING_DEG = 4.0  # mean |head pose - the first frame's| of a driver worth transferring
RECORD = "evaluation.json"

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is evaluated, and how far."""

    data: Path
    out: Path
    format: str = "onnx"
    precision: str = "fp32"
    runner: str | None = None
    threads: int | None = None
    rendered: Path | None = None  # a folder of clips that another tool drew, instead of a bundle
    split: str = "val"
    origin: str | None = None
    clips: tuple[str, ...] = ()  # names; all by default
    frames: int | None = None  # of each clip, from its beginning
    cross: int = 0  # pairs of a driver and another person's photo
    drift_frames: int = DRIFT_FRAMES  # 0 leaves the drift test out
    score_models: Path | None = None
    score_python: Path | None = None
    keep_clips: bool = False  # what was drawn, lossless, in out/clips and out/cross


def evaluate(
    bundle: Path | None,
    options: EvaluationOptions,
    *,
    reader: ReadsFaces | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Score one model and write `evaluation.json` and contact sheets below `options.out`.

    Args:
        bundle: a bundle; None takes the shipped one, or with `rendered` none.
        options: see `EvaluationOptions`.
        reader: reads faces instead of the models of `score_models`.
        progress: told after every clip.

    Returns:
        the record that was written.

    Raises:
        InputError: data, bundle, models or options that cannot be used; no record is written.
        MissingToolError: no runner of the format, or no MediaPipe where models were named.

    """
    if options.rendered and bundle:
        raise InputError(f"want a bundle or --rendered, got both {bundle} and {options.rendered}")
    if options.rendered and options.cross:
        raise InputError("want --cross with a bundle, got it with --rendered; leave one out")
    begin = time.perf_counter()
    held_out = HeldOut.read(options.data, split=options.split, origin=options.origin)
    if options.clips:
        held_out = held_out.only(options.clips)
    with ExitStack() as stack:
        job = _Job(options, held_out, progress)
        subject, actor = job.cast(stack, bundle)
        if options.score_models and reader is None:
            found = FaceReader(options.score_models, options.score_python)
            job.score_models = found.hashes()
            if not found.knows_identity:
                job.skip(("csim",), f"{options.score_models} has no {IDENTITY}")
            reader = stack.enter_context(found)
        job.run(actor, reader)
    record = job.record(subject, time.perf_counter() - begin)
    record.to_json(options.out / RECORD)
    return record


class _Subject:
    """What is scored, for the record."""

    def __init__(
        self, name: str, session: Session | None = None, model: dict[str, str] | None = None
    ) -> None:
        self.name, self.model = name, model or {}
        self.variant = session.variant if session else ""
        self.runner = session.runner if session else ""


class _Job:
    """One evaluation while it runs."""

    def __init__(self, options: EvaluationOptions, held_out: HeldOut, progress: Progress) -> None:
        self.score_models: dict[str, str] = {}
        self._options = options
        self._held_out = held_out
        self._progress = progress
        self._rows: list[ClipFigures] = []
        self._skipped: list[Skipped] = []
        self._warnings: list[str] = []

    def skip(self, figures: Sequence[str], reason: str) -> None:
        self._skipped.append(Skipped(figures=tuple(figures), reason=reason))

    def cast(self, stack: ExitStack, bundle: Path | None) -> tuple[_Subject, Actor]:
        """Return what is scored, loaded."""
        options = self._options
        if options.rendered:
            return _Subject(options.rendered.name), RecordedActor(
                options.rendered, self._held_out.clips
            )
        path = bundle or default_bundle()
        opened = stack.enter_context(Bundle.open(path))
        session = Session.open(
            opened,
            options.format,
            options.precision,
            threads=options.threads,
            runner=options.runner,
        )
        stack.enter_context(session)
        return _Subject(path.name, session, opened.manifest.model), ModelActor(session)

    def run(self, actor: Actor, reader: ReadsFaces | None) -> None:
        """Score all clips, then the pairs."""
        options = self._options
        if reader is None:
            reason = f"no --score-models DIR with {LANDMARKER} and {IDENTITY} was named"
            self.skip(FACE_FIGURES, reason)
            if options.cross:
                self.skip(("cross-reenactment",), reason)
        if options.drift_frames and not isinstance(actor, ModelActor):
            self.skip(("drift",), "rendered clips cannot be played forth and back")
        cross = options.cross if reader else 0
        total = len(self._held_out.clips) + cross
        sheets = Sheets(options.out / "sheets", "self")
        for clip in self._held_out.clips:
            self._score("self", clip, None, actor, reader, sheets)
            self._progress(len(self._rows), total)
        sheets.finish()
        if cross:
            sheets = Sheets(options.out / "sheets", "cross")
            for clip, photo in self._pairs(cross):
                self._score("cross", clip, photo, actor, reader, sheets)
                self._progress(len(self._rows), total)
            sheets.finish()
        if isinstance(actor, RecordedActor):
            self._warnings += actor.warnings

    def _pairs(self, count: int) -> tuple[tuple[Clip, Clip], ...]:
        moving = {r.clip for r in self._rows if r.figures.get("apd_deg_static", 0) >= MOVING_DEG}
        drivers = [clip for clip in self._held_out.clips if clip.name in moving]
        pairs = choose_pairs(drivers, self._held_out.photos or self._held_out.clips, count)
        if not pairs:
            self.skip(
                ("cross-reenactment",),
                f"no clip's head moves by {MOVING_DEG:g} degrees on average and has another"
                " person's photo beside it",
            )
        elif len(pairs) < count:
            self._warnings.append(f"{len(pairs)} pairs of different people, not {count}")
        return pairs

    def _score(
        self,
        kind: Kind,
        clip: Clip,
        person: Clip | None,
        actor: Actor,
        reader: ReadsFaces | None,
        sheets: Sheets,
    ) -> None:
        photo = (person or clip).first_frame()
        tally, liveliest = PortraitTally(kind, photo, reader), Liveliest(photo)
        with ExitStack() as stack:
            writer = self._writer(stack, clip, person)
            for output, target in actor.perform(photo, clip, self._options.frames):
                tally.add(output, target)
                liveliest.add(output, target)
                if writer:
                    writer.write(output)
        figures = tally.figures()
        if kind == "self" and isinstance(actor, ModelActor):
            figures |= self._drift(clip, photo, actor, reader)
        if reader and not tally.faces:
            self._warnings.append(f"{clip.name}: no frame has a face in both driver and output")
        row = ClipFigures(
            kind=kind,
            clip=clip.name,
            photo=person.name if person else "",
            origin=clip.origin,
            frames=tally.frames,
            faces=tally.faces,
            figures=figures,
        )
        self._rows.append(row)
        sheets.add(liveliest.strip(), row.name)

    def _drift(
        self, clip: Clip, photo: Array, actor: ModelActor, reader: ReadsFaces | None
    ) -> dict[str, float]:
        played = self._options.drift_frames
        most = min(played // 2, self._options.frames or played)
        if most < 2:
            return {}
        actor.start(photo)
        driver = list(driver_frames(clip, most))
        return drift(actor.step, driver, photo, reader, frames=played)

    def _writer(self, stack: ExitStack, clip: Clip, person: Clip | None) -> VideoWriter | None:
        if not self._options.keep_clips:
            return None
        name = f"cross/{clip.name}--{person.name}.mkv" if person else f"clips/{clip.name}.mkv"
        path = self._options.out / name
        return stack.enter_context(VideoWriter(path, (SIDE_PX, SIDE_PX), lossless=True))

    def record(self, subject: _Subject, seconds: float) -> Evaluation:
        """Return everything that was found."""
        return Evaluation(
            subject=subject.name,
            variant=subject.variant,
            runner=subject.runner,
            model=subject.model,
            score_models=self.score_models,
            machine=describe_machine(),
            seconds=seconds,
            clips=tuple(self._rows),
            summaries=summarize(self._rows),
            worst=find_worst(self._rows),
            skipped=tuple(self._skipped),
            warnings=tuple(self._warnings),
        )
