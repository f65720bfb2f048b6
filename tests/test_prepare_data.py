"""From videos to training data: what is written, what is refused, kills, processes."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

from pocketportrait.cli import app, main
from pocketportrait.contract import Array
from pocketportrait.distill.clips import origins
from pocketportrait.distill.prepare import video
from pocketportrait.distill.prepare.executor import LocalExecutor, open_executor
from pocketportrait.distill.prepare.preparation import Prepared, PrepareOptions, prepare
from pocketportrait.distill.prepare.record import file_sha256
from pocketportrait.distill.prepare.settings import Settings
from pocketportrait.errors import InputError
from pocketportrait.media.face import FaceBox
from pocketportrait.media.samples import sample_drivers
from pocketportrait.media.video import VideoReader, VideoWriter

pytest.importorskip("scenedetect", reason="extra prepare")
pytest.importorskip("webdataset", reason="extra prepare")

SIDE = 240
RATE = Fraction(10)
Output = pytest.CaptureFixture[str]


class Killed(BaseException):
    """What a test does instead of a kill."""


class Eyes:
    """A detector that sees one face everywhere, counts, and may die."""

    def __init__(self) -> None:
        self.looks = 0
        self.last: int | None = None

    def detect(self, rgb: Array) -> list[FaceBox]:
        self.looks += 1
        if self.looks == self.last:
            raise Killed
        return [FaceBox(70, 50, 170, 175)]


@pytest.fixture
def eyes(monkeypatch: pytest.MonkeyPatch) -> Eyes:
    eyes = Eyes()
    monkeypatch.setattr(video, "_detector", lambda: eyes)
    return eyes


def frames(seed: int, count: int = 22, pace_px: int = 4) -> Iterator[Array]:
    """Grey blobs and grain that move over the picture."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 90, (12, 24), dtype=np.uint8))
    grain = Image.fromarray(rng.integers(0, 61, (80, 160), dtype=np.uint8))
    size = (2 * SIDE, SIDE)
    wide = np.asarray(blobs.resize(size, Image.Resampling.BICUBIC)).astype(int) + 55
    wide = wide + np.asarray(grain.resize(size))
    for index in range(count):
        shown = np.roll(wide, pace_px * index, axis=1)[:, :SIDE].astype(np.uint8)
        yield np.repeat(shown[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("videos")
    paths = tuple(folder / f"{name}.mp4" for name in ("a", "b", "c"))
    for seed, path in enumerate(paths):
        with VideoWriter(path, (SIDE, SIDE), rate=RATE) as writer:
            for frame in frames(seed):
                writer.write(frame)
    return paths


def made(out: Path, *paths: Path, licence: str | None = "CC0-1.0", **kwargs: object) -> Prepared:
    return prepare(PrepareOptions(videos=paths, out=out, licence=licence, **kwargs))  # type: ignore[arg-type]


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_data_is_what_label_and_train_read(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    done = made(tmp_path / "data", *videos, origin="animated_or_edited_output")
    assert done.clips == {"train": 2, "val": 1}
    assert done.people == {"train": 2, "val": 1}
    manifest = json.loads(done.manifest.read_text())
    assert manifest["identity_by"].startswith("source file")
    assert len({clip["identity"] for clip in manifest["clips"]}) == 3
    for clip in manifest["clips"]:
        path = tmp_path / "data" / clip["file"]
        assert path.parent == tmp_path / "data" / clip["split"] / "clips"
        assert file_sha256(path) == clip["sha256"]
        assert clip["licence"] == "CC0-1.0"
        source = Path(clip["source"])
        assert file_sha256(source) == clip["source_sha256"]
    for split in ("train", "val"):
        folder = tmp_path / "data" / split
        names = [path.name for path in sorted((folder / "clips").glob("*.mp4"))]
        assert origins(folder, names) == ["animated_or_edited_output"] * len(names)


def test_shards_hold_the_clips_and_what_is_known_of_them(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    done = made(tmp_path / "data", *videos, settings=Settings(shard_mb=1e-6))
    manifest = json.loads(done.manifest.read_text())
    names = [shard["file"] for shard in manifest["shards"]]
    assert names == [f"shards/{n}.tar" for n in ("train-000000", "train-000001", "val-000000")]
    for clip, name in zip(manifest["clips"], names, strict=True):
        with tarfile.open(tmp_path / "data" / name) as tar:
            members = {member.name: member for member in tar.getmembers()}
            key = Path(clip["file"]).stem
            assert sorted(members) == [f"{key}.json", f"{key}.mp4"]
            assert {member.mtime for member in members.values()} == {0}
            held = {n: tar.extractfile(n).read() for n in members}  # type: ignore[union-attr]
        assert held[f"{key}.mp4"] == (tmp_path / "data" / clip["file"]).read_bytes()
        assert json.loads(held[f"{key}.json"]) == clip


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    made(tmp_path / "whole", *videos)
    whole, eyes.looks = eyes.looks, 0
    eyes.last = whole // 3 + 5  # in the middle of the second video
    with pytest.raises(Killed):
        made(tmp_path / "broken", *videos)
    assert len([*(tmp_path / "broken/.prepare/videos").iterdir()]) == 1
    assert not (tmp_path / "broken/manifest.json").exists()
    eyes.last, eyes.looks = None, 0
    done = made(tmp_path / "broken", *videos)
    assert done.num_new == 2
    assert eyes.looks == whole - whole // 3
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")


def test_a_second_run_does_nothing_and_a_damaged_clip_is_made_again(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    out = tmp_path / "data"
    first = made(out, *videos)
    before, stamp, looks = tree(out), first.manifest.stat().st_mtime_ns, eyes.looks
    assert made(out, *videos).num_new == 0
    assert eyes.looks == looks
    assert first.manifest.stat().st_mtime_ns == stamp
    next((out / ".prepare/clips").iterdir()).write_bytes(b"broken")
    (out / "shards/train-000000.tar").unlink()
    assert made(out, *videos).num_new == 1
    assert tree(out) == before


def test_videos_may_come_one_by_one(eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]) -> None:
    made(tmp_path / "at once", *videos)
    for path in reversed(videos):
        made(tmp_path / "one by one", path)
    assert tree(tmp_path / "one by one") == tree(tmp_path / "at once")


def test_what_is_shown_twice_is_used_once(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    again, same = tmp_path / "again.mp4", tmp_path / "same.mp4"
    same.write_bytes(videos[0].read_bytes())
    with VideoWriter(again, (SIDE, SIDE), rate=RATE) as writer:  # encoded anew, a little darker
        for frame in VideoReader(videos[0]):
            writer.write((frame.rgb * 0.95).astype(np.uint8))
    done = made(tmp_path / "data", *videos, again, same)
    assert sum(done.clips.values()) == 3
    assert done.rejected == {"copy": 1}
    first, second = sorted((videos[0], same))
    assert done.notes == (f"{second}: the same file as {first}; used once",)
    (copy,) = json.loads(done.report.read_text())["rejected"]
    assert copy["source"] in (str(again), str(first))
    assert copy["figure"] <= copy["limit"]


def test_folders_are_searched_and_bad_videos_do_not_stop_the_good(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    bad = videos[0].parent / "z.mov"
    bad.write_bytes(b"junk")
    try:
        done = made(tmp_path / "data", videos[0].parent)
    finally:
        bad.unlink()
    assert sum(done.clips.values()) == 3
    assert done.rejected == {"unreadable": 1}


def test_people_who_look_alike_do_not_come_to_both_sides(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # a and b are one person, c is between: too near to be in val beside them, too far to be theirs
    rows = iter([[1, 0.0], [1, 0.1], [0.55, 0.835]])

    class Embedder:
        def __init__(self, *_: object) -> None: ...

        def embed(self, crops: Array) -> Array:
            row = np.array(next(rows))
            return np.asarray(row / np.linalg.norm(row))

    monkeypatch.setattr(video, "FaceEmbedder", Embedder)
    (tmp_path / "MobileFaceNet.onnx").write_bytes(b"weights")
    done = made(
        tmp_path / "data", *videos, score_models=tmp_path, settings=Settings(identity_distance=0.3)
    )
    manifest = json.loads(done.manifest.read_text())
    assert manifest["identity_by"].startswith("face embeddings")
    assert done.rejected["like train"] >= 1
    assert {clip["split"] for clip in manifest["clips"]} == {"train"}
    report = json.loads(done.report.read_text())
    assert all(one["figure"] > 0.5 for one in report["rejected"])


@pytest.mark.parametrize("licence", [None, "", "  "])
def test_no_licence_is_refused(
    tmp_path: Path, videos: tuple[Path, ...], licence: str | None
) -> None:
    with pytest.raises(InputError, match=r"want the licence of the videos.*--licence CC-BY-4\.0"):
        made(tmp_path / "data", *videos, licence=licence)
    assert not (tmp_path / "data").exists()


def test_other_settings_rights_and_folders_are_refused(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...]
) -> None:
    out = tmp_path / "data"
    made(out, videos[0])
    before = tree(out)
    with pytest.raises(InputError, match=r"other settings \(least_motion: there 5\.0, now 6\.0\)"):
        made(out, videos[0], settings=Settings(least_motion=6))
    with pytest.raises(InputError, match=r"licence 'CC0-1\.0', footage; now licence 'MIT'"):
        made(out, videos[0], licence="MIT")
    with pytest.raises(InputError, match="want a new folder or one that prepare made"):
        made(videos[0].parent, videos[0])
    with pytest.raises(InputError, match="want an origin of footage"):
        made(out, videos[0], origin="film")
    assert tree(out) == before


def test_nothing_that_passes_is_said_with_counts(
    eyes: Eyes, tmp_path: Path, videos: tuple[Path, ...], capsys: Output
) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video")
    arguments = ["prepare", *map(str, videos), str(junk), "-o", str(tmp_path / "data")]
    assert main([*arguments, "--licence", "CC0-1.0", "--least-face-px", "500"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "no shot of 4 videos passes the filters (3 tiny face, 1 unreadable" in line
    report = json.loads((tmp_path / "data/report.json").read_text())
    assert report["counts"] == {"tiny face": 3, "unreadable": 1}
    assert not (tmp_path / "data/manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.mp4"], "nowhere.mp4: want a video or a folder of videos, got no such file"),
        (["."], "want videos (.mp4"),
        ([], "Missing argument"),
        ([".", "--val-share", "1.5"], "val_share: Input should be less than 1, got 1.5"),
        ([".", "--executor", "cloud"], "want an executor of local, ray, got 'cloud'"),
        ([".", "--longest-s", "1"], "want a longest clip of at least the shortest (2 s), got 1 s"),
    ],
)
def test_bad_usage_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments, "-o", "data", "--licence", "CC0-1.0"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert [*tmp_path.iterdir()] == []


def test_the_flags_have_the_defaults_of_the_settings() -> None:
    command = get_command(app).commands["prepare"]  # type: ignore[attr-defined]
    flags = {option.name: option.default for option in command.params}
    thresholds = Settings().model_dump(exclude={"identity_model"})
    assert {name: flags[name] for name in thresholds} == thresholds


@pytest.mark.slow
def test_real_faces_come_out_the_same_from_one_process_and_from_two(
    tmp_path: Path, capsys: Output
) -> None:
    for path in sample_drivers():
        with VideoWriter(tmp_path / path.name, (256, 256)) as writer:
            for frame, _ in zip(VideoReader(path), range(50), strict=False):
                writer.write(frame.rgb)
    videos = [str(path) for path in sorted(tmp_path.glob("*.mp4"))]
    for jobs in ("1", "2"):
        arguments = ["prepare", *videos, "-o", str(tmp_path / jobs), "--licence", "CC-BY-4.0"]
        assert main([*arguments, "--jobs", jobs]) == 0
        assert "train: 1 clips of 1 people" in capsys.readouterr().out
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    for clip in json.loads((tmp_path / "1/manifest.json").read_text())["clips"]:
        # the shipped clips are framed already, so the crop is nearly all of them
        assert clip["crop"][2] > 225
        assert clip["face_px"] == pytest.approx(256 / 1.9, rel=0.1)


def _dies(_: int) -> int:
    os._exit(9)


@pytest.mark.slow
def test_a_process_that_dies_is_said() -> None:
    from pocketportrait.errors import PortraitError

    with pytest.raises(PortraitError, match=r"a process died.*run the same command again"):
        list(LocalExecutor(2).each(_dies, [1, 2]))


@pytest.mark.slow
def test_a_real_kill_in_the_middle_is_survived(tmp_path: Path) -> None:
    arguments = [*map(str, sample_drivers()), "--licence", "CC-BY-4.0", "--jobs", "1"]
    command = [sys.executable, "-m", "pocketportrait", "prepare", *arguments]
    killed = subprocess.Popen([*command, "-o", str(tmp_path / "killed")])
    records = tmp_path / "killed/.prepare/videos"
    while killed.poll() is None and not [*records.glob("[!.]*.json")]:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/manifest.json").exists()
    assert main(["prepare", *arguments, "-o", str(tmp_path / "killed")]) == 0
    assert main(["prepare", *arguments, "-o", str(tmp_path / "whole")]) == 0
    kept = {name: b for name, b in tree(tmp_path / "killed").items() if "/." not in name}
    assert {n: b for n, b in tree(tmp_path / "whole").items() if "/." not in n} == kept


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="extra ray")
    paths = sample_drivers()
    try:
        made(tmp_path / "ray", *paths, executor=open_executor("ray", 1))
    finally:
        ray.shutdown()
    made(tmp_path / "local", *paths)
    assert tree(tmp_path / "ray") == tree(tmp_path / "local")
