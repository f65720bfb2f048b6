from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketportrait.contract import Array
from pocketportrait.media.crop import LANDMARK_DOWN, crop_for_face, landmark_box
from pocketportrait.media.detector import CenterFaceDetector
from pocketportrait.media.face import FaceBox
from pocketportrait.media.photo import read_photo
from pocketportrait.media.samples import samples_folder

PHOTOS = (
    "photo_cc0_man.jpg",
    "photo_cc0_woman.jpg",
    "photo_pd_astronaut.jpg",
    "photo_pd_painting.jpg",
)


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector()


def sample(name: str, side: int = 512) -> Array:
    photo = Image.fromarray(read_photo(samples_folder() / name))
    return np.asarray(photo.resize((side, side), Image.Resampling.BOX))


@pytest.mark.parametrize("name", PHOTOS)
def test_samples_are_framed_as_they_were_cut(detector: CenterFaceDetector, name: str) -> None:
    # The samples were cut by the framing from landmarks, so the crop found must be nearly all of
    # them; 9 % is the 95 % bound of the measured errors.
    faces = detector.detect(sample(name))
    assert len(faces) == 1
    side = max(landmark_box(faces[0]).width, landmark_box(faces[0]).height)
    assert 1.9 * side == pytest.approx(512, rel=0.09)
    crop = crop_for_face(faces[0], (512, 512))
    assert abs(crop.x + crop.side / 2 - 256) < 25
    assert abs(crop.y + crop.side / 2 - 256) < 25


@pytest.mark.parametrize("side", [60, 200, 1500])
def test_the_crop_does_not_depend_on_the_size_of_the_picture(
    detector: CenterFaceDetector, side: int
) -> None:
    canvas = Image.new("RGB", (3 * side, 2 * side), (127, 127, 127))
    canvas.paste(Image.fromarray(sample(PHOTOS[0])).resize((side, side)), (side, side // 3))
    want = detector.detect(sample(PHOTOS[0]))[0]
    got = detector.detect(np.asarray(canvas))[0]
    scale = side / 512
    assert got.height / scale == pytest.approx(want.height, rel=0.06)
    assert (got.center[0] - side) / scale == pytest.approx(want.center[0], abs=12)
    assert (got.center[1] - side // 3) / scale == pytest.approx(want.center[1], abs=12)


def test_several_faces_come_largest_first(detector: CenterFaceDetector) -> None:
    canvas = np.full((512, 900, 3), 127, np.uint8)
    canvas[200:456, 20:276] = sample(PHOTOS[0], 256)
    canvas[:512, 380:892] = sample(PHOTOS[1])
    faces = detector.detect(canvas)
    assert len(faces) == 2
    assert faces[0].left > 380
    assert faces[0].area > 2 * faces[1].area


@pytest.mark.parametrize("kind", ["grey", "noise", "checks"])
def test_no_face_gives_an_empty_list(detector: CenterFaceDetector, kind: str) -> None:
    picture = np.full((300, 400, 3), 127, np.uint8)
    if kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    if kind == "checks":
        y, x = np.mgrid[:300, :400]
        picture = np.repeat(
            (((x // 20 + y // 20) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2
        )
    assert detector.detect(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (900, 3)])
def test_tiny_and_narrow_pictures_are_no_trouble(
    detector: CenterFaceDetector, shape: tuple[int, int]
) -> None:
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_nothing_is_printed(
    detector: CenterFaceDetector, capfd: pytest.CaptureFixture[str]
) -> None:
    CenterFaceDetector().detect(sample(PHOTOS[0], 128))
    assert capfd.readouterr() == ("", "")


def test_boxes_know_their_overlap() -> None:
    box = FaceBox(0, 0, 10, 20)
    assert (box.width, box.height, box.area, box.center) == (10, 20, 200, (5, 10))
    assert box.overlap(box) == 1
    assert box.overlap(FaceBox(5, 0, 15, 20)) == pytest.approx(1 / 3)
    assert box.overlap(FaceBox(20, 0, 30, 20)) == 0
    assert FaceBox(0, 0, 0, 0).overlap(FaceBox(0, 0, 0, 0)) == 0


def test_the_landmark_box_is_lower_and_less_tall() -> None:
    box = landmark_box(FaceBox(0, 0, 100, 100))
    assert box.height < 100
    assert box.center[1] == pytest.approx(50 + 100 * LANDMARK_DOWN)


def test_samples_carry_their_licences() -> None:
    folder = Path(samples_folder())
    notes = (folder / "SAMPLES.json").read_text()
    for file in folder.iterdir():
        assert file.name == "SAMPLES.json" or file.name in notes
