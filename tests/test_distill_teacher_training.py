"""Distillation end to end with the tiny student and recordings: it learns, resumes, and spreads."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file

from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.distill import teacher_training, trainer
from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.clips import decode
from pocketportrait.distill.plan import Phase
from pocketportrait.distill.teacher_objective import TERMS
from pocketportrait.distill.teacher_pairs import PairStore
from pocketportrait.distill.teacher_plan import (
    DistillOptions,
    distillation_options,
    read_distillation_plan,
)
from pocketportrait.distill.teacher_training import DistillRun, distill
from pocketportrait.errors import InputError
from pocketportrait.media.video import VideoWriter
from pocketportrait.models.teachers.recorded import RecordedTeacher
from pocketportrait.models.weights import read_facts
from tests.recorded_squares import SIDE, courses, square, write_labels, write_recordings

PLAN = (
    Phase("warp", SIDE, 4, 2, 1e-3),
    Phase("synthesis", SIDE, 4, 1, 1e-3),
    Phase("joint", SIDE, 4, 2, 1e-3),
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_recordings(folder)
    return folder


@pytest.fixture(scope="module")
def store(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    """The recordings as labelled pairs; a distillation without labels says how to make them."""
    folder = tmp_path_factory.mktemp("pairs")
    told = options_of(recordings, folder, folder / "out")
    with pytest.raises(InputError, match=f"run: pocketportrait label {folder}"):
        distill(told)
    write_labels(PairStore(folder))
    return PairStore(folder)


def options_of(recordings: Path, store: Path, out: Path) -> DistillOptions:
    return DistillOptions(
        data=recordings, out=out, cache=store / "cache", preset="tiny", plan=PLAN, threads=1,
        teacher="recorded", teacher_weights=recordings, store=store, precision="no",
    )  # fmt: skip


@pytest.fixture
def options(recordings: Path, store: PairStore, tmp_path: Path) -> DistillOptions:
    return options_of(recordings, store.folder, tmp_path)


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips of nine frames hold no thousand to turn a renderer by."""
    monkeypatch.setattr(trainer, "FRAMES", 64)


@pytest.fixture(scope="module")
def whole(
    recordings: Path, store: PairStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DistillOptions, dict[str, torch.Tensor]]:
    """A run with a critic in its last phase that nobody stopped, and the weights that it made."""
    plan = (*PLAN[:2], dataclasses.replace(PLAN[2], critic=0.1))
    options = options_of(recordings, store.folder, tmp_path_factory.mktemp("whole"))
    options = dataclasses.replace(options, plan=plan, save_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "FRAMES", 64)
        return options, load_file(distill(options))


def test_every_phase_runs_and_the_weights_say_who_taught(options: DistillOptions) -> None:
    lines: list[dict[str, Any]] = []
    told: list[tuple[int, int, bool]] = []
    path = distill(options, lines.append, lambda *pair: told.append(pair))
    assert told == [(1, 2, False), (2, 2, False)]  # rendered before
    assert lines[0]["pairs"] == 2
    learnt = [line for line in lines if "loss" in line]
    assert [line["step"] for line in learnt] == [2, 3, 5]
    codes = {"pose", "expression", "independence"}
    look = {"picture", "ssim", "warped", "mesh", "smooth", "grid", "cycle"}
    parts = [set(line) - {"phase", "step", "minutes", "pairs_per_s", "loss"} for line in learnt]
    assert parts == [codes | {"warped", "mesh", "smooth"}, look, codes | look]
    facts = read_facts(path)
    assert facts["steps"] == "5"
    assert facts["teacher"].startswith("recorded ")


@pytest.mark.slow
def test_loss_falls_on_what_is_seen(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)
    lines: list[dict[str, Any]] = []
    plan = (Phase("joint", SIDE, 4, 40, 3e-3),)
    distill(dataclasses.replace(options, plan=plan), lines.append)
    assert lines[-1]["loss"] < 0.9 * lines[1]["loss"]  # 0.84; 0.99 at a rate of 1e-12
    assert lines[-1]["mesh"] < lines[1]["mesh"]


@pytest.mark.parametrize(
    "stop",
    [pytest.param(1, id="inside the first phase", marks=pytest.mark.slow),
     pytest.param(2, id="between phases"),
     pytest.param(4, id="in the last", marks=pytest.mark.slow)],
)  # fmt: skip
def test_killed_run_goes_on_as_if_nothing_had_happened(
    whole: tuple[DistillOptions, dict[str, torch.Tensor]],
    stop_training: Callable[[int], None],
    stop: int,
    tmp_path: Path,
) -> None:
    options, one = whole
    parts = dataclasses.replace(options, out=tmp_path)
    stop_training(stop)
    with pytest.raises(KeyboardInterrupt):
        distill(parts)
    two = load_file(distill(parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_codes_of_the_teacher_are_learnt_where_it_has_them(
    options: DistillOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Encoding(RecordedTeacher):
        fingerprint = "with codes"

        def encode(self, frames: Iterable[Array]) -> Array:
            place = [np.argwhere(frame[..., 0] > 200).mean(0) for frame in frames]
            return np.concatenate([np.stack(place), np.ones((len(place), 1))], 1).astype(np.float32)

    monkeypatch.setattr(
        teacher_training, "open_teacher", lambda kind, folder, device: Encoding.open(folder)
    )
    lines: list[dict[str, Any]] = []
    options = dataclasses.replace(options, store=options.out / "pairs", plan=PLAN[:2])
    with pytest.raises(InputError, match="run: pocketportrait label"):
        distill(options)
    write_labels(PairStore(options.out / "pairs"))
    distill(options, lines.append)
    learnt = [line for line in lines if "loss" in line]
    assert 0 < learnt[-2]["code"] < 4
    assert "code" not in learnt[-1]  # the encoder does not learn while pictures are painted
    head = Checkpoint.read(options.out / trainer.CHECKPOINT).model["code_head.weight"]
    assert head.shape == (3, 16)


def test_pairs_without_a_face_in_the_photo_are_left_out_and_counted(
    options: DistillOptions, store: PairStore, tmp_path: Path
) -> None:
    victim = sorted(store.folder.glob("clips/*.mp4"))[0].stem
    elsewhere = PairStore(tmp_path / "pairs")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "clips").symlink_to(store.folder / "clips")
    write_labels(elsewhere, without_photo=victim)
    lines: list[dict[str, Any]] = []
    told = dataclasses.replace(options, store_labels=tmp_path / "pairs/labels", plan=PLAN[:1])
    distill(told, lines.append)
    assert (lines[0]["pairs"], lines[0]["pairs_without_a_face"]) == (1, 1)


def test_shard_renders_its_part_and_stops(options: DistillOptions) -> None:
    folder = options.out / "pairs"
    for number, shard in enumerate(("1/2", "2/2"), 1):
        made = distill(dataclasses.replace(options, store=folder, shard=shard))
        assert made == folder
        assert len(list(folder.glob("records/*.json"))) == number
    assert not (options.out / trainer.LOG).exists()


def test_network_teachers_get_pairs_of_two_clips(
    options: DistillOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Copier:
        summary, fingerprint = "a copier", "f"

        def animate(self, photo: Array, frames: Iterable[Array]) -> Iterator[Array]:
            yield from frames

    data = PairStore(tmp_path / "data")  # clips of squares, one grey, one black
    for level, course in zip((100, 20), courses(), strict=True):
        (data.folder / "clips").mkdir(parents=True, exist_ok=True)
        path = data.folder / "clips" / f"{level}.mp4"
        with VideoWriter(path, (SIDE, SIDE), lossless=True) as writer:
            for x, y in course:
                writer.write(square(x, y, level))
    write_labels(data)
    monkeypatch.setattr(teacher_training, "open_teacher", lambda kind, folder, device: Copier())
    told = {"teacher": "copier", "data": data.folder, "cache": tmp_path / "cache", "shard": "1/1"}
    store = PairStore(distill(dataclasses.replace(options, store=None, pairs=3, frames=8, **told)))
    assert store.folder == options.out / "pairs"
    for path in sorted(store.folder.glob("clips/*.mp4")):
        photo, *made = decode(path, np.arange(9), 256)
        assert {int(photo[0, 0, 0]), int(made[0][0, 0, 0])} == {100, 20}
    assert 1 <= len(list(store.folder.glob("records/*.json"))) <= 3


def test_command_renders_a_shard_and_asks_for_labels(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--teacher", "recorded", "--teacher-weights", str(recordings), "--preset", "tiny"]
    told += ["--out", str(tmp_path), "--precision", "no", "--threads", "1"]
    assert main(["distill", *told, "--shard", "2/2"]) == 0
    assert capsys.readouterr().out == f"pairs: {tmp_path / 'pairs'}\n"
    assert main(["distill", *told]) == 2
    assert f"run: pocketportrait label {tmp_path / 'pairs'}" in capsys.readouterr().err
    assert main(["distill", "--teacher", "recorded", "--precision", "no"]) == 2
    assert "name it with --teacher-weights" in capsys.readouterr().err


def test_teacher_without_data_says_what_is_missing() -> None:
    told = {"teacher": "liveportrait", "teacher_weights": None, "data": None, "transfer": None,
            "own_pairs": 0.0, "weights": ()}  # fmt: skip
    with pytest.raises(InputError, match="name them with --data"):
        distillation_options(**told, precision="no")
    with pytest.raises(InputError, match="transfer: want one of relative, absolute, got 'both'"):
        distillation_options(**told | {"transfer": "both"}, precision="no")
    with pytest.raises(InputError, match="own_pairs: want labelled clips"):
        distillation_options(**told | {"teacher": "recorded", "own_pairs": 0.5}, precision="no")
    with pytest.raises(
        InputError, match="want TERM=NUMBER with a number from 0 on, got 'cycle=-1'"
    ):
        distillation_options(**told | {"data": Path(), "weights": ["cycle=-1"]}, precision="no")


def test_terms_count_as_told_and_batches_too_small_for_both_are_refused(
    options: DistillOptions,
) -> None:
    options = dataclasses.replace(with_own_pairs(options), plan=PLAN[2:])
    lines: list[dict[str, Any]] = []
    distill(dataclasses.replace(options, weights=dict.fromkeys(TERMS, 0.0)), lines.append)
    assert [line["loss"] for line in lines if "loss" in line] == [0.0]
    with pytest.raises(InputError, match="4 of the teacher and 0 of clips in batches of 4"):
        distill(dataclasses.replace(options, own_pairs=0.1))
    for name in ("cycles", "mixed"):
        with pytest.raises(InputError, match=rf"want names of terms \(picture, .*\), got {name}"):
            distill(dataclasses.replace(options, weights={name: 1.0}))


def with_own_pairs(options: DistillOptions) -> DistillOptions:
    """Half of every batch are pairs of clips, and all are read; those of the store are labelled."""
    assert options.store is not None
    weights = {"performed": 0.25}
    return dataclasses.replace(options, data=options.store, own_pairs=0.5, weights=weights)


def test_pairs_of_clips_stand_beside_the_teachers(options: DistillOptions) -> None:
    """Every batch has both, each picture with its own labels, and a photo that performs its target."""
    options, accelerator = with_own_pairs(options), Accelerator(cpu=True)
    assert options.store is not None
    store = PairStore(options.store)
    records = teacher_training._rendered(options, accelerator, store, lambda *_: None)
    run = DistillRun(options, accelerator, lambda line: None, store, records)
    batch = run._batch(PLAN[2])
    assert {name: len(value) for name, value in batch.items()} == {
        "photo_points": 4, "target_points": 4, "pose": 8, "blendshapes": 8, "shape": 8,
        "has_shape": 8, "photo": 4, "target": 4, "driver": 4, "neutral": 4,
        "target_moved": 4, "place": 4,
    }  # fmt: skip
    assert run._own is not None
    own = run._own.draw(2, options.seed, 0)
    for name in ("pose", "blendshapes"):
        photos, targets = np.split(getattr(own, name), 2)
        assert np.array_equal(batch[name][2:4], photos)
        assert np.array_equal(batch[name][6:8], targets)
    assert torch.equal(batch["neutral"][2:], batch["photo"][2:])
    for picture, points in zip(batch["target"], batch["target_points"], strict=True):
        x, y = (points.mean(0) * SIDE).int().tolist()
        assert picture[:, y, x].min() > 0.8  # the square, where the landmarks are


@pytest.mark.parametrize(
    ("teacher", "transfer"),
    [("liveportrait", "relative"), ("native", "relative"), ("xnemo", "absolute")],
)
def test_the_student_is_told_how_its_teacher_moves_a_photo(teacher: str, transfer: str) -> None:
    """As documented: `NativeTeacher` adds the driver's change since its first frame."""
    options = DistillOptions(data=Path(), out=Path(), teacher=teacher)
    assert options.moves() == transfer
    assert dataclasses.replace(options, transfer="absolute").moves() == "absolute"


def test_plan_knows_its_own_kinds_only(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([dataclasses.asdict(phase) for phase in PLAN]))
    assert read_distillation_plan(path) == PLAN
    path.write_text(json.dumps([dataclasses.asdict(PLAN[0]) | {"kind": "motion"}]))
    with pytest.raises(InputError, match="phase 0: want kind warp or synthesis or joint"):
        read_distillation_plan(path)


def curve(options: DistillOptions) -> list[float]:
    """Distil and return the loss of every step."""
    lines: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "LOG_EVERY", 1)
        distill(options, lines.append)
    return [line["loss"] for line in lines if "loss" in line]


def work(rank: int, world: int, port: int, options: DistillOptions, told: Any) -> None:
    """One of several processes."""
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    AcceleratorState._reset_state(reset_partial_state=True)
    assert PartialState(cpu=True).num_processes == world
    told.put((rank, curve(options)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "own_pairs"),
    [pytest.param((2, 1, 2), 0.0, id="5 steps"),
     pytest.param((2, 1, 2), 0.5, id="5 steps, half of the pairs of clips"),
     pytest.param((20, 10, 20), 0.0, id="50 steps")],
)  # fmt: skip
def test_two_processes_follow_the_curve_of_one(
    options: DistillOptions,
    steps: tuple[int, ...],
    own_pairs: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Equal global batch, batch norm frozen: statistics of half a batch are other statistics."""
    # a spawned process gets this path too, and must find this module in it
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    plan = tuple(dataclasses.replace(p, steps=n) for p, n in zip(PLAN, steps, strict=True))
    options = dataclasses.replace(options, plan=plan, frozen_norm=True)
    options = dataclasses.replace(with_own_pairs(options), own_pairs=own_pairs)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = curve(dataclasses.replace(options, out=options.out / "one"))
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    two = dataclasses.replace(options, out=options.out / "two")
    other = context.Process(target=work, args=(1, 2, port, two, told))
    other.start()
    try:
        with mock.patch.dict(os.environ):
            work(0, 2, port, two, told)  # here: a start imports torch, which takes seconds
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    curves = dict(told.get(timeout=300) for _ in range(2))
    other.join(60)
    assert other.exitcode == 0
    assert len(one) == sum(steps)
    assert curves[1] == []  # the main process writes the log
    assert curves[0] == pytest.approx(one, rel=0.01)
