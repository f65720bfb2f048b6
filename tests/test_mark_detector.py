"""The mark is found again in what life makes of a clip, and nowhere else."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.mark import Detector, detect, field_of_side, mark_picture
from pocketportrait.mark.chance import PER_SCALE, PER_SHIFT, chance_anywhere
from pocketportrait.mark.detector import GATE, MOST_CHANCE
from pocketportrait.mark.pattern import PUBLIC_KEY, TILE_PX, beacon, field, waves_of
from pocketportrait.mark.reading import MOST_STRETCH, Place, deviations_of, read_waves, refine
from pocketportrait.mark.residual import residual_of
from pocketportrait.mark.search import Search

BUNDLE = 0x0123456789ABCDEF


def soft_picture(side: int = 256, seed: int = 0) -> Array:
    """Return uint8 [side, side, 3] with as much at every scale as photos have."""
    random = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for size in (4, 8, 16, 32, 64, 128, 256):
        small = Image.fromarray(random.integers(0, 255, (size, size, 3), np.uint8))
        large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), float)
        total += (large - 127) / size**0.9
    return np.clip(127 + 1.6 * total, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def marked() -> Array:
    return mark_picture(soft_picture(), field_of_side(BUNDLE, 256))


def resized(picture: Array, size: tuple[int, int]) -> Array:
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


ATTACKS: dict[str, Callable[[Array], Array]] = {
    "nothing": lambda p: p,
    "half": lambda p: resized(p, (128, 128)),
    "double": lambda p: resized(p, (512, 512)),
    "cropped and off the grid": lambda p: resized(p[31:236, 7:212], (281, 281)),
    "brighter": lambda p: np.clip(p * np.float32(1.1), 0, 255).astype(np.uint8),
    "in a larger picture": lambda p: np.pad(p, ((20, 90), (70, 40), (0, 0)), mode="reflect"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_still_says_whose_it_is(marked: Array, attack: str) -> None:
    found = detect([ATTACKS[attack](marked)])
    assert found.found
    assert found.bundle_id == BUNDLE
    assert found.confidence > 0.999999


def test_the_place_is_found(marked: Array) -> None:
    found = detect([resized(marked, (320, 320))[40:, 16:]])
    assert (found.top_px, found.left_px) == pytest.approx((-40, -16), abs=1.5)
    assert found.tile_px == pytest.approx(320, abs=2)


def drowned(place: Place, side: int, seed: int) -> Array:
    """Return a residual whose coarse waves are the picture's, whose finer ones are half the mark's."""
    random = np.random.default_rng(seed)
    waves = waves_of(PUBLIC_KEY)
    fine = np.hypot(waves.down, waves.across) > 34
    y, x = (
        (np.arange(side) + 0.5 - start) / place.scale_down - 0.5
        for start in (place.top, place.left)
    )
    turns = 2j * np.pi / TILE_PX
    down = np.exp(turns * np.outer(y, waves.down[fine]))
    across = np.exp(turns * np.outer(waves.across[fine], x) + 1j * waves.phase[fine, None])
    marked = (down @ across).real
    return np.asarray(0.25 * marked / marked.std() + random.normal(size=(side, side)), np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_a_place_is_found_where_coarse_waves_say_nothing(seed: int) -> None:
    """Between samples and between scales, where the search is at its worst."""
    random = np.random.default_rng(seed + 10)
    place = Place(*random.uniform(-40, -10, 2), *[random.uniform(1, 1.4)] * 2)
    found = Detector(drowned(place, 230, seed)).detect()
    assert found.found
    assert (found.top_px, found.left_px) == pytest.approx((place.top, place.left), abs=1.5)
    assert found.tile_px == pytest.approx(TILE_PX * place.scale_across, rel=0.01)


def test_no_place_is_stretched_beyond_what_chance_counts() -> None:
    """A mark that was stretched by 6 % draws the search after it, up to the bound and no further."""
    wide = mark_picture(soft_picture(), field_of_side(BUNDLE, 256))
    residual = residual_of([resized(wide, (271, 256))])[0]
    place, _ = refine(residual, waves_of(PUBLIC_KEY), Place(0, 0, 1.0, 1.02))
    stretch = math.log(place.scale_across / place.scale_down)
    assert abs(stretch) <= MOST_STRETCH


def test_an_unmarked_picture_has_none() -> None:
    found = detect([soft_picture(seed=3)])
    assert not found.found
    assert found.bundle_id is None
    assert found.chance > 1e-3


def test_deviations_are_those_of_chance() -> None:
    """What one picture gives a hundred keys is spread as noise is: the chance that is told is true."""
    detector = Detector(residual_of([soft_picture(seed=4)])[0])
    picture, place = detector._residual, Place(0, 0, 1, 1)
    fits = []
    for number in range(100):
        waves = waves_of(b"key %d" % number)
        fits.append(deviations_of(read_waves(picture, waves, place)[waves.is_beacon]))
    assert np.std(fits) == pytest.approx(1, abs=0.21)  # three standard errors
    search = Search(picture)
    assert max(search.best(b"key %d" % n).deviations for n in range(10)) < GATE


@pytest.mark.parametrize(
    ("moved", "want"),
    [
        (Place(0, 0.25, 1, 1), 0.25 / TILE_PX * PER_SHIFT),
        (Place(0, -0.128, 1, 1.001), 0.001 * PER_SCALE),  # about the middle
    ],
)
def test_deviations_change_as_the_count_of_places_assumes(moved: Place, want: float) -> None:
    residual = np.random.default_rng(5).normal(size=(256, 256)).astype(np.float32)
    changes = []
    for number in range(60):
        waves = waves_of(b"key %d" % number)
        here, there = (
            deviations_of(read_waves(residual, waves, place)[waves.is_beacon])
            for place in (Place(0, 0, 1, 1), moved)
        )
        changes.append(there - here)
    assert np.std(changes) == pytest.approx(want, rel=0.3)  # three standard errors


def test_fields_exceed_a_level_as_often_as_their_formula_says() -> None:
    """The same formula for two dimensions, all places of four tiles, which can be tried out."""
    tile, level, num_keys = 2 * TILE_PX, 4.6, 40  # half a pixel apart: peaks lie between
    side = 2 * tile
    spectrum = np.fft.rfft2(np.random.default_rng(6).normal(size=(side, side)))
    hits = 0
    for number in range(num_keys):
        wave = np.fft.rfft2(beacon(b"key %d" % number, tile), s=(side, side))
        hits += np.fft.irfft2(spectrum * wave.conj()).max() / tile > level
    peaks = 4 * PER_SHIFT**2 * level * math.exp(-(level**2) / 2) / (2 * math.pi) ** 1.5
    want = num_keys * -math.expm1(-peaks)
    assert hits == pytest.approx(want, rel=0.35)  # three standard errors


def test_a_chance_anywhere_is_small_from_where_the_documents_say() -> None:
    levels = np.arange(4, 12, 0.01)
    chances = [2 * chance_anywhere(level) for level in levels]
    assert (np.diff(chances) <= 0).all()
    assert levels[np.argmax(np.array(chances) <= MOST_CHANCE)] == pytest.approx(8.29, abs=0.02)


def test_a_clip_that_was_compressed_hard_is_found(marked: Array) -> None:
    """Halved in quality, as JPEG does it: less than half of the strength is left."""
    file = io.BytesIO()
    Image.fromarray(marked).save(file, "JPEG", quality=60)
    found = detect([np.asarray(Image.open(file))])
    assert found.found
    assert found.deviations < detect([marked]).deviations


def test_another_key_sees_nothing(marked: Array) -> None:
    assert not detect([marked], b"private").found
    private = mark_picture(soft_picture(), field_of_side(BUNDLE, 256, b"private"))
    assert detect([private], b"private").bundle_id == BUNDLE
    assert not detect([private]).found


def test_the_cost_is_bounded_whatever_is_marked() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    for picture in (soft_picture(), noise, np.full((256, 256, 3), 128, np.uint8)):
        error = mark_picture(picture, field_of_side(BUNDLE, 256)).astype(float) - picture
        assert 10 * np.log10(255**2 / np.mean(error**2)) >= 42


def test_flat_places_change_by_a_level_or_so() -> None:
    flat = np.full((256, 256, 3), 200, np.uint8)
    change = mark_picture(flat, field_of_side(BUNDLE, 256)).astype(float) - flat
    assert np.sqrt(np.mean(change**2)) < 0.85  # 0.7, and what rounding adds


def test_the_pattern_is_the_same_everywhere() -> None:
    """Numbers that were written down: another machine must find what this one marks."""
    waves = waves_of(PUBLIC_KEY)
    assert len(waves.phase) == 4974
    assert waves.is_beacon.sum() == round(0.4 * 4974)
    tile = field(BUNDLE)
    assert (tile.shape, str(tile.dtype)) == ((256, 256), "float32")
    np.testing.assert_allclose(tile[0, :3], FIRST, atol=1e-5)
    assert abs(float(tile.mean())) < 1e-6


FIRST = (-1.188048, -1.189068, -0.676904)


def test_larger_sides_repeat_and_smaller_ones_are_cut() -> None:
    tile = field(BUNDLE)
    assert (field_of_side(BUNDLE, 512)[256:, :256] == tile).all()
    assert (field_of_side(BUNDLE, 64) == tile[96:160, 96:160]).all()


def test_odd_frames_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        detect([])
    with pytest.raises(InputError, match="one size"):
        detect([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)])
    with pytest.raises(InputError, match="at least 32 px"):
        detect([np.zeros((16, 64, 3), np.uint8)])
