import numpy as np
import pytest

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.likeness import Copy, Likeness, find_copies, frame_hash
from pocketportrait.distill.prepare.settings import Settings

LIMITS = Settings()
RATE_HZ = 25.0


def head(seed: int, num_frames: int = 100, *, looks: int = 0) -> Array:
    """Blobs that sway: the way they look comes from `looks`, the way they move from `seed`."""
    rng, shape = np.random.default_rng(seed), np.random.default_rng(1000 + looks)
    centres, sizes = shape.uniform(60, 196, (6, 2)), shape.uniform(15, 40, 6)
    weights = shape.uniform(-90, 90, 6)
    time = np.arange(num_frames) / RATE_HZ
    y, x = np.mgrid[:256, :256]
    frames = np.full((num_frames, 256, 256), 127.0, np.float32)
    sway = [
        rng.uniform(2, 6) * np.sin(2 * np.pi * rng.uniform(0.3, 1.2) * time + rng.uniform(0, 6))
        for _ in range(12)
    ]
    for k, (centre, size, weight) in enumerate(zip(centres, sizes, weights, strict=True)):
        for t in range(0, num_frames, 5):
            dx, dy = x - centre[0] - sway[k][t], y - centre[1] - sway[6 + k][t]
            frames[t : t + 5] += weight * np.exp(-(dx**2 + dy**2) / (2 * size**2))
    return np.clip(frames, 0, 255)


def likeness(frames: Array) -> Likeness:
    return Likeness.of(frames, RATE_HZ)


def copies(*clips: Array, shots: list[int] | None = None) -> list[Copy]:
    return find_copies(
        [likeness(clip) for clip in clips],
        shots or list(range(len(clips))),
        most_bits=LIMITS.copy_bits,
        least_alike=LIMITS.copy_alike,
    )


def test_a_copy_that_is_cut_elsewhere_darker_and_noisy_is_found() -> None:
    original = head(0)
    noise = np.random.default_rng(0).normal(0, 4, (90, 256, 256)).astype(np.float32)
    (copy,) = copies(original, 0.9 * original[10:] + noise)
    assert (copy.index, copy.of) == (1, 0)
    assert copy.bits < LIMITS.copy_bits
    assert copy.alike > LIMITS.copy_alike


def test_another_moment_of_the_same_calm_head_is_no_copy() -> None:
    same_looks = likeness(head(0)), likeness(head(1))
    distance = np.bitwise_count(same_looks[0].hashes[:, None] ^ same_looks[1].hashes[None])
    assert distance.min(axis=1).mean() < LIMITS.copy_bits  # hashes alone would take it for one
    assert copies(head(0), head(1)) == []


def test_another_face_is_no_copy() -> None:
    assert copies(head(0), head(0, looks=1)) == []


def test_pieces_of_one_shot_are_never_copies() -> None:
    assert copies(head(0), head(0), shots=[7, 7]) == []
    assert len(copies(head(0), head(0), shots=[7, 8])) == 1


def test_of_three_that_are_alike_the_first_stays() -> None:
    assert [(copy.index, copy.of) for copy in copies(head(0), head(0), head(0))] == [(1, 0), (2, 0)]


def test_no_clips_have_no_copies() -> None:
    assert copies() == []


def test_frames_without_any_motion_are_not_alike() -> None:
    still = np.repeat(head(0, 1), 50, axis=0)
    assert likeness(still).moves_like(likeness(still)) == -1


def test_likeness_survives_being_written_down() -> None:
    before = likeness(head(3, 30))
    text = before.to_text()
    after = Likeness.from_text(text)
    assert text.isascii()
    assert np.array_equal(before.hashes, after.hashes)
    assert np.array_equal(before.course, after.course)


def test_the_hash_ignores_brightness_and_hears_of_shape() -> None:
    frame = head(0, 1)[0]
    assert frame_hash(frame) == frame_hash(frame * 0.5 + 40)
    assert (frame_hash(frame) ^ frame_hash(frame[:, ::-1])).bit_count() > 10
    with pytest.raises(ValueError, match="reshape"):
        frame_hash(frame[:100, :100])
