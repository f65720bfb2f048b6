import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pocketportrait.contract import Array
from pocketportrait.distill.prepare.figures import (
    evenly,
    luma,
    motion,
    sharpness,
    text_strokes,
)
from pocketportrait.distill.prepare.settings import Settings
from pocketportrait.media.samples import sample_drivers
from pocketportrait.media.video import VideoReader

FACE = (0.28, 0.28, 0.72, 0.8)  # where the framing puts it
LIMITS = Settings()


@pytest.fixture(scope="module")
def frames() -> Array:
    """Two seconds of a shipped clip."""
    every = VideoReader(sample_drivers()[0]).frames(every=5)
    return np.stack([frame.rgb for frame, _ in zip(every, range(10), strict=False)])


def changed(frames: Array, change: "Image.Image | None" = None, blur_px: float = 0) -> Array:
    pictures = [
        Image.fromarray(frame).filter(ImageFilter.GaussianBlur(blur_px)) for frame in frames
    ]
    if change is not None:
        for picture in pictures:
            picture.paste(change, (0, 0), change)
    return luma(np.stack([np.asarray(picture) for picture in pictures]))


def subtitle(size: int, top: int = 190) -> Image.Image:
    layer = Image.new("RGBA", (256, 256))
    font = ImageFont.load_default(size)
    style = {"fill": "white", "stroke_width": 1, "stroke_fill": "black"}
    ImageDraw.Draw(layer).text((4, top), "Where were you last night?", font=font, **style)
    return layer


def test_a_sharp_face_passes_and_a_blurred_one_does_not(frames: Array) -> None:
    assert sharpness(changed(frames), FACE) > LIMITS.least_sharpness
    assert sharpness(changed(frames, blur_px=4), FACE) < LIMITS.least_sharpness


def test_sharpness_is_that_of_the_face_not_of_the_wall_behind() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 256, 256)).astype(np.float32)
    noise[:, 70:206, 70:186] = 127
    assert sharpness(noise, FACE) == 0


def test_a_moving_face_passes_and_a_photo_does_not(frames: Array) -> None:
    assert motion(changed(frames), FACE) > LIMITS.least_motion
    noise = np.random.default_rng(0).normal(0, 3, (10, 256, 256)).astype(np.float32)
    assert motion(changed(np.repeat(frames[:1], 10, axis=0)) + noise, FACE) < LIMITS.least_motion


def test_a_mouth_alone_is_motion_and_a_ticker_outside_the_face_is_not(frames: Array) -> None:
    still = changed(np.repeat(frames[:1], 10, axis=0))
    ticker, mouth = still.copy(), still.copy()
    ticker[::2, 230:] = 255
    mouth[::2, 170:184, 110:146] = 20
    assert motion(ticker, FACE) < LIMITS.least_motion
    assert motion(mouth, FACE) > LIMITS.least_motion


@pytest.mark.parametrize("size", [14, 22, 36])
def test_subtitles_are_found_at_every_size(frames: Array, size: int) -> None:
    assert text_strokes(changed(frames), FACE, 5.0) < LIMITS.most_strokes / 2
    assert text_strokes(changed(frames, subtitle(size)), FACE, 5.0) > LIMITS.most_strokes


def test_text_above_the_face_or_for_a_moment_is_no_subtitle(frames: Array) -> None:
    assert text_strokes(changed(frames, subtitle(22, top=10)), FACE, 5.0) < LIMITS.most_strokes
    looks = changed(frames)
    looks[4] = changed(frames[4:5], subtitle(22))[0]
    assert text_strokes(looks, FACE, 5.0) < LIMITS.most_strokes


def test_indices_are_even_and_hold_both_ends() -> None:
    assert evenly(100, 3).tolist() == [0, 50, 99]
    assert evenly(2, 12).tolist() == [0, 1]
    assert evenly(1, 5).tolist() == [0]


def test_luma_weighs_colours_as_eyes_do() -> None:
    colours = np.eye(3, dtype=np.uint8)[None] * 100
    assert luma(colours[:, None])[0, 0] == pytest.approx([29.9, 58.7, 11.4])
