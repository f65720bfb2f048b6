import numpy as np
import pytest

from pocketportrait.distill.prepare.piece import Piece, find_pieces, frame_step
from pocketportrait.distill.prepare.record import Rejection
from pocketportrait.distill.prepare.settings import Settings
from pocketportrait.distill.prepare.survey import Look, Survey
from pocketportrait.media.crop import median_crop
from pocketportrait.media.face import FaceBox

SIZE = (640, 480)
RATE_HZ = 25.0
FACE = FaceBox(260, 160, 380, 310)
Faces = tuple[FaceBox, ...]


def judged(
    faces: list[Faces], *, size: tuple[int, int] = SIZE, cuts: tuple[int, ...] = (), rate: float = 25.0,
    settings: Settings | None = None,
) -> tuple[list[Piece], list[Rejection]]:  # fmt: skip
    """Judge a video with these faces in every fifth frame."""
    looks = tuple(Look(5 * k, some) for k, some in enumerate(faces))
    survey = Survey(np.arange(5 * len(faces)) / rate, cuts, looks, None)
    return find_pieces(survey, size, rate, settings or Settings(), "a.mp4")


def only_reason(pieces: list[Piece], rejected: list[Rejection]) -> Rejection:
    assert pieces == []
    (one,) = rejected
    assert one.source == "a.mp4"
    return one


def moved(dx: float, dy: float = 0, scale: float = 1.0) -> FaceBox:
    x, y = FACE.center
    half_width, half_height = FACE.width / 2 * scale, FACE.height / 2 * scale
    x, y = x + dx, y + dy
    return FaceBox(x - half_width, y - half_height, x + half_width, y + half_height)


def test_a_calm_single_face_passes_with_the_crop_of_animate() -> None:
    (piece,), rejected = judged([(FACE,)] * 20)
    assert rejected == []
    assert piece.crop == median_crop([FACE] * 20, SIZE)
    assert (piece.span.start, piece.span.stop) == (0, 100)
    assert piece.seen == 1
    assert max(piece.box[2] - piece.box[0], piece.box[3] - piece.box[1]) == pytest.approx(1 / 1.9)
    assert (piece.box[1] + piece.box[3]) / 2 == pytest.approx(0.5 + 0.08 / 1.9)


def test_a_short_shot_is_rejected_with_its_length() -> None:
    one = only_reason(*judged([(FACE,)] * 9))
    assert (one.reason, one.figure, one.limit) == ("short", 1.8, 2.0)


@pytest.mark.parametrize(
    ("faces", "reason", "figure"),
    [
        ([()] * 20, "no face", 0.0),
        ([(FACE,), ()] * 10, "face lost", 0.5),
        ([(moved(0, 0, 0.6),)] * 20, "tiny face", 80.82),
        ([(FACE, moved(110, 0, 0.5))] * 20, "several faces", 1.0),
        ([(moved(-250),)] * 20, "cut off", None),
        ([(FACE,)] * 10 + [(moved(200),)] * 10, "face lost", 0.5),
    ],
)  # fmt: skip
def test_each_filter_names_its_reason(
    faces: list[Faces], reason: str, figure: float | None
) -> None:
    one = only_reason(*judged(faces))
    assert one.reason == reason
    assert one.figure is not None
    if figure is not None:
        assert one.figure == pytest.approx(figure, abs=0.01)


def test_a_face_that_leaves_its_crop_is_rejected() -> None:
    # a head that wanders so far that even the largest crop loses it, step by step
    path = [*range(0, 200, 20), *range(200, -200, -20), *range(-200, 0, 20)]
    faces: list[Faces] = [(moved(dx, 0, 0.9),) for dx in path]
    one = only_reason(*judged(faces, settings=Settings(most_outside=1)))
    assert one.reason == "moves out"
    assert one.figure > 0.05


def test_a_small_or_distant_second_face_is_no_trouble() -> None:
    for other in (moved(80, 0, 0.25), moved(-245, 0, 0.9)):
        pieces, _ = judged([(FACE, other)] * 20)
        assert len(pieces) == 1


def test_a_passer_by_is_no_trouble_for_a_moment() -> None:
    pieces, _ = judged([(FACE, moved(120))] * 2 + [(FACE,)] * 18)
    assert len(pieces) == 1


def test_shots_are_judged_apart() -> None:
    pieces, rejected = judged([(FACE,)] * 12 + [()] * 12, cuts=(60,))
    assert [piece.span.shot for piece in pieces] == [0]
    assert [(one.reason, one.start_s, one.stop_s) for one in rejected] == [("no face", 2.4, 4.8)]


def test_long_shots_become_equal_pieces() -> None:
    pieces, _ = judged([(FACE,)] * 60, settings=Settings(longest_s=5))
    assert [(piece.span.start, piece.span.stop) for piece in pieces] == [
        (0, 100),
        (100, 200),
        (200, 300),
    ]


def test_pieces_of_fast_videos_begin_with_a_frame_that_is_kept() -> None:
    pieces, _ = judged([(FACE,)] * 61, rate=60.0, cuts=(7,), settings=Settings(shortest_s=1))
    assert [piece.span.start for piece in pieces] == [8]


@pytest.mark.parametrize(
    ("rate", "step"), [(24, 1), (30.0, 1), (30.3, 1), (50, 2), (59.94, 2), (60, 2), (120, 4), (5, 1)]
)  # fmt: skip
def test_frame_rates_are_divided_by_whole_numbers(rate: float, step: int) -> None:
    assert frame_step(rate, 30.0) == step
