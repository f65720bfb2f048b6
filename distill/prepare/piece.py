"""Pieces of shots that may become clips, and what the faces alone say against them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pocketportrait.distill.prepare.record import Rejection
from pocketportrait.distill.prepare.settings import Settings
from pocketportrait.distill.prepare.survey import Look, Survey
from pocketportrait.media.crop import SquareCrop, landmark_box, median_crop
from pocketportrait.media.face import FaceBox
from pocketportrait.media.framing import FaceTracks

OTHER_AREA = 0.1  # of the face's; smaller ones are posters and people far behind

Reject = Callable[[str, str, float | None, float | None], Rejection]


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one shot."""

    shot: int
    start: int  # frames of the source
    stop: int
    start_s: float
    stop_s: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A span with one face that is large, alone, and stays inside its crop."""

    span: Span
    crop: SquareCrop
    face: FaceBox  # landmark box, median over time, source pixels
    seen: float

    @property
    def face_px(self) -> float:
        """The larger side of the face."""
        return max(self.face.width, self.face.height)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The face in 0..1 of the crop."""
        x, y, side = self.crop.x, self.crop.y, self.crop.side
        face = self.face
        return (
            (face.left - x) / side,
            (face.top - y) / side,
            (face.right - x) / side,
            (face.bottom - y) / side,
        )


def frame_step(rate_hz: float, most_rate_hz: float) -> int:
    """Return of how many frames one is kept; rates up to 1 % above the limit count as the limit."""
    return max(1, math.ceil(rate_hz / (most_rate_hz * 1.01)))


def find_pieces(
    survey: Survey, size: tuple[int, int], rate_hz: float, settings: Settings, source: str
) -> tuple[list[Piece], list[Rejection]]:
    """Divide shots into pieces and keep those whose faces fit.

    Args:
        survey: the first pass.
        size: (width, height) of the frames.
        rate_hz: frames a second of the source.
        settings: the thresholds.
        source: of the video, for the list of rejections.

    """
    pieces: list[Piece] = []
    rejected: list[Rejection] = []
    for span in _spans(survey, rate_hz, settings):
        found = _judge(span, survey.looks, size, settings, rejection(source, span))
        if isinstance(found, Piece):
            pieces.append(found)
        else:
            rejected.append(found)
    return pieces, rejected


def rejection(source: str, span: Span) -> Reject:
    """Return a function that rejects this span: reason, measure, figure, limit."""

    def reject(reason: str, measure: str, figure: float | None, limit: float | None) -> Rejection:
        return Rejection(
            source=source,
            start_s=round(span.start_s, 3),
            stop_s=round(span.stop_s, 3),
            reason=reason,
            measure=measure,
            figure=None if figure is None else round(figure, 3),
            limit=limit,
        )

    return reject


def _spans(survey: Survey, rate_hz: float, settings: Settings) -> Iterator[Span]:
    """Cut each shot into equal parts that are not too long, from frames that will be kept."""
    times, step = survey.times_s, frame_step(rate_hz, settings.most_rate_hz)
    for shot, (first, end) in enumerate(survey.shots()):
        length_s = times[end - 1] - times[first] + 1 / rate_hz
        parts = max(1, math.ceil(length_s / settings.longest_s - 1e-6))
        edges = [round(edge) for edge in np.linspace(first, end, parts + 1)]
        for start, stop in itertools.pairwise(edges):
            start_s, stop_s = float(times[start]), float(times[stop - 1]) + 1 / rate_hz
            yield Span(shot, -(-start // step) * step, stop, start_s, stop_s)


def _judge(
    span: Span, looks: Sequence[Look], size: tuple[int, int], settings: Settings, reject: Reject
) -> Piece | Rejection:
    length_s = span.stop_s - span.start_s
    if length_s < settings.shortest_s - 1e-6:
        return reject("short", "length, s", length_s, settings.shortest_s)
    inside = [look for look in looks if span.start <= look.frame < span.stop]
    tracks = FaceTracks()
    for look in inside:
        tracks.add(look.faces)
    faces = tracks.main()
    if not faces:
        return reject("no face", "looks with a face", 0.0, settings.least_seen)
    seen = len(faces) / len(inside)
    if seen < settings.least_seen:
        return reject("face lost", "looks that find the face", seen, settings.least_seen)
    boxes = [landmark_box(face) for face in faces]
    left, top, right, bottom = (
        float(np.median([getattr(box, edge) for box in boxes]))
        for edge in ("left", "top", "right", "bottom")
    )
    crop = median_crop(faces, size)
    piece = Piece(span, crop, FaceBox(left, top, right, bottom), seen)
    if piece.face_px < settings.least_face_px:
        return reject("tiny face", "face side, px", piece.face_px, settings.least_face_px)
    others = _others(inside, faces, crop)
    if others > settings.most_others:
        measure = "looks with another face in the crop"
        return reject("several faces", measure, others, settings.most_others)
    outside = _outside(crop, size)
    if outside > settings.most_outside:
        measure = "part of the crop beyond the picture"
        return reject("cut off", measure, outside, settings.most_outside)
    leaving = float(np.mean([not _holds(crop, box) for box in boxes]))
    if leaving > settings.most_leaving:
        return reject("moves out", "looks beyond the crop", leaving, settings.most_leaving)
    return piece


def _others(looks: Sequence[Look], faces: Sequence[FaceBox], crop: SquareCrop) -> float:
    """Return the share of looks in which another face of some size reaches into the crop."""
    own = set(faces)
    least = OTHER_AREA * float(np.median([face.area for face in faces]))
    reaching = [
        any(face not in own and face.area >= least and _reaches(crop, face) for face in look.faces)
        for look in looks
    ]
    return float(np.mean(reaching))


def _reaches(crop: SquareCrop, face: FaceBox) -> bool:
    x, y = face.center
    half_width, half_height = face.width / 4, face.height / 4  # a sliver at the edge is no face
    return (
        crop.x < x + half_width
        and x - half_width < crop.x + crop.side
        and crop.y < y + half_height
        and y - half_height < crop.y + crop.side
    )


def _outside(crop: SquareCrop, size: tuple[int, int]) -> float:
    """Return the widest strip of the crop that lies outside the picture, in sides of the crop."""
    beyond = (
        -crop.x, -crop.y, crop.x + crop.side - size[0], crop.y + crop.side - size[1],
    )  # fmt: skip
    return max(0.0, *beyond) / crop.side


def _holds(crop: SquareCrop, box: FaceBox) -> bool:
    return (
        crop.x <= box.left
        and crop.y <= box.top
        and box.right <= crop.x + crop.side
        and box.bottom <= crop.y + crop.side
    )
