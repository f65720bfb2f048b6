"""One video becomes clips and a record of them; what processes and machines share out."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.figures import luma, motion, sharpness, text_strokes
from pocketportrait.distill.prepare.identity import FaceEmbedder
from pocketportrait.distill.prepare.likeness import Likeness
from pocketportrait.distill.prepare.piece import Piece, find_pieces, frame_step, rejection
from pocketportrait.distill.prepare.record import (
    ClipRecord,
    Records,
    Rejection,
    VideoRecord,
    file_sha256,
)
from pocketportrait.distill.prepare.settings import Rights, Settings
from pocketportrait.distill.prepare.survey import survey
from pocketportrait.errors import InputError
from pocketportrait.media.crop import SIDE_PX, cut
from pocketportrait.media.detector import CenterFaceDetector, FaceDetector
from pocketportrait.media.video import VideoReader
from pocketportrait.media.video_writer import VideoWriter


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video to work through; all that another process needs to know."""

    path: Path
    source: str  # the path as it was given
    sha256: str
    rights: Rights
    settings: Settings
    data: Path
    model: Path | None  # the face-recognition network


def prepare_video(job: VideoJob) -> str:
    """Work through one video with this process's own networks; return the key of its record."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # sums in one order, whatever the machine has; processes share the work
    try:
        detector = _detector()
        embedder = FaceEmbedder(job.model, detector) if job.model else None
        return record_video(job, detector, embedder).key
    finally:
        cv2.setNumThreads(threads)


def record_video(
    job: VideoJob, detector: FaceDetector, embedder: FaceEmbedder | None = None
) -> VideoRecord:
    """Write the clips of one video, then its record.

    A video that cannot be used gives a record with one rejection; what is damaged is used as far as it
    can be decoded.
    """
    records = Records(job.data)
    record = VideoRecord(
        source=job.source, sha256=job.sha256, bytes=job.path.stat().st_size, rights=job.rights
    )
    try:
        reader = VideoReader(job.path)
        seen = survey(reader, detector, job.settings)
    except InputError as error:
        refused = Rejection(
            source=job.source, start_s=0, stop_s=0, reason="unreadable", measure="", note=str(error)
        )
        record = record.model_copy(update={"rejected": (refused,)})
    else:
        facts = reader.facts
        size = (facts.width, facts.height)
        pieces, rejected = find_pieces(seen, size, float(facts.rate), job.settings, job.source)
        clips = []
        for piece, frames, times in _cut_pieces(reader, pieces, job.settings):
            made = _make_clip(job, records, reader, piece, frames, times, embedder)
            if isinstance(made, ClipRecord):
                clips.append(made)
            else:
                rejected.append(made)
        update = {
            "size": size,
            "damage": seen.damage,
            "clips": tuple(clips),
            "rejected": tuple(sorted(rejected, key=lambda one: one.start_s)),
        }
        record = record.model_copy(update=update)
    records.write(record)
    return record


@functools.cache
def _detector() -> CenterFaceDetector:
    return CenterFaceDetector()


def _cut_pieces(
    reader: VideoReader, pieces: Sequence[Piece], settings: Settings
) -> Iterator[tuple[Piece, Array, list[int]]]:
    """Decode again, as far as needed; give each piece's crops [N, 256, 256, 3] and their times."""
    step = frame_step(float(reader.facts.rate), settings.most_rate_hz)
    left = list(pieces)
    crops: list[Array] = []
    times: list[int] = []
    if not left:
        return
    for frame in reader.frames(every=step):
        if crops and frame.index >= left[0].span.stop:
            yield left.pop(0), np.stack(crops), times
            crops, times = [], []
            if not left:
                return
        if left[0].span.start <= frame.index < left[0].span.stop:
            crops.append(cut(frame.rgb, left[0].crop))
            times.append(frame.pts)
    if crops:
        yield left[0], np.stack(crops), times


def _make_clip(
    job: VideoJob,
    records: Records,
    reader: VideoReader,
    piece: Piece,
    frames: Array,
    times: list[int],
    embedder: FaceEmbedder | None,
) -> ClipRecord | Rejection:
    """Judge the pictures of a piece; write them if they pass."""
    settings, facts = job.settings, reader.facts
    reject = rejection(job.source, piece.span)
    rate = facts.rate / frame_step(float(facts.rate), settings.most_rate_hz)
    bright = luma(frames)
    strokes = text_strokes(bright, piece.box, float(rate))
    if strokes > settings.most_strokes:
        measure = "standing strokes on a line across the face"
        return reject("subtitles", measure, strokes, settings.most_strokes)
    sharp = sharpness(bright, piece.box)
    if sharp < settings.least_sharpness:
        measure = "variance of the Laplacian, levels^2"
        return reject("blurred", measure, sharp, settings.least_sharpness)
    moves = motion(bright, piece.box)
    if moves < settings.least_motion:
        measure = "standard deviation over time, levels"
        return reject("static", measure, moves, settings.least_motion)
    embedding = embedder.embed(frames) if embedder else None
    if embedder and embedding is None:
        return reject("no face", "embedded frames", 0.0, 1.0)
    name = f"{job.sha256[:16]}-{piece.span.start:07d}"
    path = records.clip(name)
    _write(path, frames, times, rate, facts.time_base)
    span, crop = piece.span, piece.crop
    return ClipRecord(
        name=name,
        shot=span.shot,
        sha256=file_sha256(path),
        bytes=path.stat().st_size,
        start_frame=span.start,
        start_s=round(span.start_s, 3),
        frames=len(frames),
        fps=round(float(rate), 3),
        sec=round(span.stop_s - span.start_s, 3),
        crop=(round(crop.x, 2), round(crop.y, 2), round(crop.side, 2)),
        face_px=round(piece.face_px, 1),
        scale=round(crop.side / piece.face_px, 3),
        box=_rounded_box(piece),
        seen=round(piece.seen, 3),
        sharpness=round(sharp, 1),
        motion=round(moves, 2),
        strokes=round(strokes, 1),
        likeness=Likeness.of(bright, float(rate)).to_text(),
        embedding=None if embedding is None else tuple(round(float(x), 5) for x in embedding),
    )


def _rounded_box(piece: Piece) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(edge, 4) for edge in piece.box)
    return left, top, right, bottom


def _write(
    path: Path, frames: Array, times: list[int], rate: Fraction, time_base: Fraction
) -> None:
    # one thread: the bytes, and so the sha256, must not depend on how many cores a machine has
    size = (SIDE_PX, SIDE_PX)
    with VideoWriter(path, size, rate=rate, time_base=time_base, threads=1) as writer:
        for rgb, pts in zip(frames, times, strict=True):
            writer.write(rgb, pts - times[0])
