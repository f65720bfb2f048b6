from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, write_zip
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.runtime.session import KEPT_TIMINGS, Session

if TYPE_CHECKING:
    from pocketportrait.models.student import Student


def pixels(picture: Array) -> Array:
    return np.rint(picture * 255).astype(np.uint8)


def psnr_db(a: Array, b: Array) -> float:
    error = (a.astype(np.float64) - b.astype(np.float64)) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-12)))


@pytest.fixture
def session(tiny_bundle: Bundle) -> Iterator[Session]:
    with Session.open(tiny_bundle, threads=1) as session:
        yield session


def torch_frames(
    student: Student, photo: Array, frames: list[Array], *, relative: bool
) -> list[Array]:
    """Compute what a session shall give, in torch alone."""
    import torch

    def tensor(picture: Array) -> torch.Tensor:
        return torch.from_numpy(
            np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
        )

    with torch.no_grad():
        features, source = student.appearance(tensor(photo)), student.motion(tensor(photo))
        codes = [student.motion(tensor(frame)) for frame in frames]
        if relative:
            codes = [source + (code - codes[0]) for code in codes]
        images = [student.render(*features, source, code) for code in codes]
    return [np.rint(image[0].permute(1, 2, 0).numpy().clip(0, 1) * 255) for image in images]


@pytest.mark.parametrize("motion", ["relative", "absolute"])
@pytest.mark.parametrize(
    ("format", "precision", "least_db"),
    [
        ("onnx", "fp32", 60),
        ("onnx", "fp16", 45),
        ("tflite", "fp32", 60),
        ("coreml", "fp32", 60),
        ("coreml", "fp16", 45),
    ],
)
def test_a_session_is_what_torch_computes(
    tiny_bundle: Bundle,
    tiny_student: Student,
    tiny_pairs: list[tuple[Array, Array]],
    format: str,
    precision: str,
    least_db: float,
    motion: str,
) -> None:
    (photo, first), (second, third) = ((pixels(a), pixels(b)) for a, b in tiny_pairs)
    frames = [first, second, third]
    want = torch_frames(tiny_student, photo, frames, relative=motion == "relative")
    with Session.open(tiny_bundle, format, precision, motion=motion, threads=1) as session:  # type: ignore[arg-type]
        session.set_photo(photo)
        for got, wanted in zip(session.animate(frames), want, strict=True):
            assert got.dtype == np.uint8
            assert got.shape == (64, 64, 3)
            assert psnr_db(got, wanted) >= least_db


def test_floats_and_bytes_mean_the_same(
    session: Session, tiny_pairs: list[tuple[Array, Array]]
) -> None:
    photo, frame = map(pixels, tiny_pairs[0])
    session.set_photo(photo)
    session.step(photo)
    of_bytes = session.step(frame)
    session.set_photo(photo.astype(np.float64) / 255)
    session.step(photo.astype(np.float32) / 255)
    assert np.abs(of_bytes.astype(int) - session.step(frame.astype(np.float32) / 255)).max() <= 1


def test_reset_neutral_starts_the_drivers_motion_anew(
    session: Session, tiny_pairs: list[tuple[Array, Array]]
) -> None:
    photo, frame = map(pixels, tiny_pairs[0])
    session.set_photo(photo)
    still = session.step(photo)
    moved = session.step(frame)
    assert np.abs(moved.astype(int) - still).max() > 2
    session.reset_neutral()
    np.testing.assert_array_equal(session.step(frame), still)


def test_another_photo_replaces_the_first(
    session: Session, tiny_pairs: list[tuple[Array, Array]]
) -> None:
    (photo, frame), (other, _) = ((pixels(a), pixels(b)) for a, b in tiny_pairs)
    session.set_photo(photo)
    session.step(frame)
    session.set_photo(other)
    fresh = session.step(frame)
    session.set_photo(other)
    np.testing.assert_array_equal(session.step(frame), fresh)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((32, 64, 3), np.uint8), r"frame: want shape \(1, 64, 64, 3\)"),
        (np.zeros((64, 64, 3), np.int32), "frame: want uint8 or float pixels, got int32"),
        (np.full((64, 64, 3), 7.0), r"got \[7, 7\]; pixels are 0..1, not 0..255"),
        (np.full((64, 64, 3), np.nan), "want finite values"),
    ],
)
def test_pictures_that_are_none_are_refused(session: Session, picture: Array, message: str) -> None:
    session.set_photo(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=message):
        session.step(picture)


def test_a_frame_before_the_photo_is_refused(session: Session) -> None:
    with pytest.raises(InputError, match="call set_photo"):
        session.step(np.zeros((64, 64, 3), np.uint8))


def test_wrong_words_are_refused_before_the_bundle_is_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(InputError, match="motion: want one of"):
        Session.open(nowhere, motion="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="format: want one of"):
        Session.open(nowhere, "caffe")


def test_a_zip_is_opened_and_closed_with_the_session(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    write_zip(tiny_bundle.root, path)
    with Session.open(path, threads=1) as session:
        assert (session.side, session.runner, session.variant) == (64, "onnxruntime", "onnx/fp32")
        session.set_photo(np.zeros((64, 64, 3), np.uint8))
        session.step(np.zeros((64, 64, 3), np.uint8))


def test_memory_does_not_grow_with_the_clip(
    session: Session, tiny_pairs: list[tuple[Array, Array]]
) -> None:
    photo, frame = map(pixels, tiny_pairs[0])
    session.set_photo(photo)

    def run(count: int) -> int:
        for _ in session.animate(frame for _ in range(count)):
            pass
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(50)
        assert run(200) - before < 50_000  # one frame of 64 px in float32 has 49,152 bytes
    finally:
        tracemalloc.stop()
    assert [len(session.timings_ms[graph]) for graph in ("appearance", "motion", "render")] == [
        1,
        251,
        250,
    ]
    assert session.timings_ms["render"].maxlen == KEPT_TIMINGS
    assert all(0 < time < 10_000 for time in session.timings_ms["render"])
