"""Pairs are rendered once, whoever renders them, whatever kills the process; clips are lossless."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pocketportrait.contract import Array
from pocketportrait.distill.clips import Clips, decode
from pocketportrait.distill.labels import ClipLabels
from pocketportrait.distill.teacher_jobs import Job, cross_jobs
from pocketportrait.distill.teacher_pairs import (
    PairRecord,
    PairStore,
    find_pairs,
    render_pairs,
    shard_of,
)
from pocketportrait.errors import InputError

FRAMES = 3


class Mixer:
    """A teacher that averages photo and frame, and counts its work."""

    summary, fingerprint = "a mixer", "f1"

    def __init__(self, dies_after: int = 10**6) -> None:
        self.num_pictures, self.dies_after = 0, dies_after

    def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
        for frame in frames:
            if self.num_pictures == self.dies_after:
                raise KeyboardInterrupt
            self.num_pictures += 1
            yield (photo // 2 + frame // 2).astype(np.uint8)


class EncodingMixer(Mixer):
    def encode(self, frames: Iterable[Array]) -> Array:
        return np.stack([frame[0, :5, 0] for frame in frames]).astype(np.float32)


def job(seed: int) -> Job:
    rng = np.random.default_rng(seed)
    photo, *driver = np.zeros((1 + FRAMES, 256, 256, 3), np.uint8)
    for picture in (photo, *driver):  # noise in a corner: whole pictures of it take long to encode
        picture[:] = rng.integers(0, 256, 3)
        picture[:32, :32] = rng.integers(0, 256, (32, 32, 3))
    frames = np.stack(driver)
    return Job(f"photo {seed} by driver {seed}", lambda: photo, lambda: frames)


@pytest.fixture
def store(tmp_path: Path) -> PairStore:
    return PairStore(tmp_path / "pairs")


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    return [job(seed) for seed in range(3)]


def written(store: PairStore) -> list[Path]:
    return sorted(path for path in store.folder.rglob("*") if path.is_file())


def test_clips_keep_every_value(store: PairStore, jobs: list[Job]) -> None:
    """Photo first, then the teacher's pictures; noise survives, so nothing was rounded."""
    [record] = render_pairs(store, EncodingMixer(), "mixer", jobs[:1])
    photo, driver = jobs[0].photo(), jobs[0].driver()
    clip = list(decode(store.clip(record), np.arange(FRAMES + 1), 256))
    assert np.array_equal(clip[0], photo)
    assert np.array_equal(clip[1:], photo // 2 + driver // 2)
    assert np.array_equal(list(decode(store.driver(record), np.arange(FRAMES), 256)), driver)
    codes = store.codes(record)
    assert codes is not None
    assert np.array_equal(load_file(codes)["codes"], driver[:, 0, :5, 0])


def test_nothing_is_rendered_twice(store: PairStore, jobs: list[Job]) -> None:
    teacher, seen = Mixer(), list[tuple[int, bool]]()
    first = render_pairs(store, teacher, "mixer", jobs[:2])
    renamed = [dataclasses.replace(one, name="another name") for one in jobs]
    again = render_pairs(store, teacher, "mixer", renamed, lambda *told: seen.append(told))
    assert teacher.num_pictures == 3 * FRAMES
    assert again[:2] == first
    assert seen == [(1, False), (2, False), (3, True)]


@pytest.mark.parametrize("change", ["kind", "weights", "photo", "driver"])
def test_what_decides_the_pictures_decides_the_key(
    store: PairStore, jobs: list[Job], change: str
) -> None:
    one, teacher = jobs[0], Mixer()
    [record] = render_pairs(store, teacher, "mixer", [one])
    if change == "weights":
        teacher.fingerprint = "f2"
    if change == "photo":
        one = dataclasses.replace(one, photo=jobs[1].photo)
    if change == "driver":
        one = dataclasses.replace(one, driver=lambda: jobs[0].driver()[:-1])
    [other] = render_pairs(store, teacher, "other" if change == "kind" else "mixer", [one])
    assert other.key != record.key


@pytest.mark.parametrize("dies_after", [1, FRAMES, FRAMES + 2])
def test_killed_rendering_leaves_whole_pairs_and_goes_on(
    store: PairStore, jobs: list[Job], dies_after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        render_pairs(store, Mixer(dies_after), "mixer", jobs[:2])
    whole = dies_after // FRAMES
    assert len(find_pairs(store, Mixer(), "mixer", jobs)) == whole
    assert len(list(store.folder.glob("clips/*"))) == whole
    teacher = Mixer()
    render_pairs(store, teacher, "mixer", jobs[:2])
    assert teacher.num_pictures == (2 - whole) * FRAMES
    assert not list(store.folder.glob("unfinished/*"))


def test_shards_together_are_all_pairs(tmp_path: Path, jobs: list[Job]) -> None:
    one, two = PairStore(tmp_path / "one"), PairStore(tmp_path / "two")
    render_pairs(one, Mixer(), "mixer", jobs)
    workers = [Mixer(), Mixer()]
    for text, teacher in zip(("2/2", "1/2"), workers, strict=True):
        render_pairs(two, teacher, "mixer", jobs[shard_of(text)])
    assert [teacher.num_pictures for teacher in workers] == [FRAMES, 2 * FRAMES]
    names = [path.relative_to(one.folder) for path in written(one)]
    assert names == [path.relative_to(two.folder) for path in written(two)]
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "1/x", "-1/2"])
def test_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"shard: want k/n with k from 1 to n"):
        shard_of(text)


def test_teacher_that_loses_frames_is_refused(store: PairStore, jobs: list[Job]) -> None:
    class Lazy(Mixer):
        def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
            return super().animate(photo, list(frames)[1:])

    with pytest.raises(InputError, match=r"want 3 pictures, one a driving frame, got 2"):
        render_pairs(store, Lazy(), "mixer", jobs[:1])
    assert not find_pairs(store, Lazy(), "mixer", jobs)


def test_codes_of_another_shape_are_refused(store: PairStore, jobs: list[Job]) -> None:
    class Flat(EncodingMixer):
        def encode(self, frames: Iterable[Array]) -> Array:
            return super().encode(frames)[0]

    with pytest.raises(InputError, match=r"want codes \[3, K\], got \[5\]"):
        render_pairs(store, Flat(), "mixer", jobs[:1])


def test_record_whose_files_are_gone_is_refused(store: PairStore, jobs: list[Job]) -> None:
    [record] = render_pairs(store, Mixer(), "mixer", jobs[:1])
    store.clip(record).unlink()
    with pytest.raises(InputError, match=r"got no such file; remove the record too"):
        render_pairs(store, Mixer(), "mixer", jobs[:1])


def test_record_of_another_version_is_refused(store: PairStore, jobs: list[Job]) -> None:
    [record] = render_pairs(store, Mixer(), "mixer", jobs[:1])
    path = store.folder / "records" / f"{record.key}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}))
    with pytest.raises(InputError, match=r"want a record of version 1, got another"):
        store.find(record.key)
    assert PairRecord.__slots__[0] == "key"


def clips_of(lengths: tuple[int, ...]) -> Clips:
    """Labelled clips whose frames are numbered, without files."""
    clips = Clips.__new__(Clips)
    clips.names = [f"{k}.mp4" for k in range(len(lengths))]
    clips.labels = [
        ClipLabels(np.arange(n), np.zeros((n, 478, 2)), np.zeros((n, 52)), np.zeros((n, 3)))
        for n in lengths
    ]
    clips.start = np.cumsum([0, *lengths])
    clips.frames = np.arange(sum(lengths), dtype=np.uint8)
    return clips


def test_photo_and_driver_show_two_people() -> None:
    clips, people = clips_of((20, 30, 40)), ["anna", "anna", "bert"]
    of_frame = np.repeat(people, (20, 30, 40))
    for one in cross_jobs(clips, people, count=40, frames=8, seed=0):
        driver = one.driver()
        assert len(driver) == 8
        assert np.array_equal(np.diff(driver), np.ones(7))  # successive frames
        assert len(set(of_frame[driver])) == 1
        assert of_frame[one.photo()] != of_frame[driver[0]]


def test_more_pairs_leave_the_first_as_they_were() -> None:
    clips, people = clips_of((20, 30)), ["unknown", "unknown"]
    few, many = (cross_jobs(clips, people, count=n, frames=64, seed=3) for n in (4, 9))
    assert [one.name for one in few] == [one.name for one in many[:4]]
    assert [int(one.photo()) for one in few] == [int(one.photo()) for one in many[:4]]
    assert {len(one.driver()) for one in many} == {20, 30}  # short clips are taken whole


def test_one_person_alone_makes_no_pairs() -> None:
    with pytest.raises(InputError, match="want clips of at least two people"):
        cross_jobs(clips_of((20, 30)), ["anna", "anna"], count=1, frames=8, seed=0)
