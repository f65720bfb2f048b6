"""Training end to end on two tiny clips: it learns, and a stopped run goes on bit for bit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from pocketportrait.contract import POSE, Array
from pocketportrait.distill import trainer
from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.handover import encode
from pocketportrait.distill.objective import Objective, judged, to_batch
from pocketportrait.distill.plan import Phase, TrainOptions, learning_rate, read_plan
from pocketportrait.distill.stage import HEAD, build
from pocketportrait.distill.targets import LabelHead
from pocketportrait.distill.trainer import CHECKPOINT, LOG, train
from pocketportrait.errors import InputError
from pocketportrait.models.dims import tiny
from pocketportrait.models.student import Rendered
from pocketportrait.models.weights import load_student

SIDE, FRAMES = 64, 12
PLAN = (Phase("motion", SIDE, 4, 3, 1e-3), Phase("joint", SIDE, 4, 4, 1e-3, critic=0.1))


def write_clip(path: Path, seed: int) -> Array:
    """Write a clip of a bright square that wanders; return its centres [N, 2], 0..1."""
    rng = np.random.default_rng(seed)
    centres = 0.5 + 0.2 * np.sin(np.linspace(0, 4, FRAMES)[:, None] + rng.random(2) * 6)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for x, y in (centres * SIDE).astype(int):
            image = np.full((SIDE, SIDE, 3), 60 + 40 * seed, np.uint8)
            image[y - 9 : y + 9, x - 9 : x + 9] = rng.integers(90, 250, 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return centres


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(7)
    shape = rng.normal(0, 0.1, (478, 2))
    for seed in (1, 2):
        centres = write_clip(root / "clips" / f"{seed}.mp4", seed)
        points = (centres[:, None] + shape + rng.normal(0, 0.003, (FRAMES, 478, 2))).astype(
            np.float32
        )
        labels = {
            "frame": np.arange(FRAMES, dtype=np.int32),
            "points": points,
            "blendshapes": rng.random((FRAMES, 52), dtype=np.float32),
            "angles": rng.normal(0, 0.1, (FRAMES, 3)).astype(np.float32),
        }
        (root / "labels").mkdir(exist_ok=True)
        save_file(labels, root / "labels" / f"{seed}.safetensors")
    return root


@pytest.fixture
def options(data: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(
        data=data, out=tmp_path, cache=data / "cache", preset="tiny", plan=PLAN, threads=1
    )


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips of twelve frames hold no thousand to turn a renderer by."""
    monkeypatch.setattr(trainer, "FRAMES", 64)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that a run makes which nobody stops."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "FRAMES", 64)
        return load_file(
            train(
                TrainOptions(
                    data=data, out=out, cache=data / "cache", preset="tiny", plan=PLAN, threads=1
                )
            )
        )


@pytest.fixture
def clips(data: Path) -> Clips:
    return Clips(data, data / "labels", data / "cache", SIDE)


def test_draws_depend_on_seed_and_step_alone(clips: Clips) -> None:
    first, again, later = clips.draw(4, 0, 5), clips.draw(4, 0, 5), clips.draw(4, 0, 6)
    assert np.array_equal(first.photo, again.photo)
    assert not np.array_equal(first.photo, later.photo)


def test_shares_of_a_draw_are_the_whole_draw(clips: Clips) -> None:
    whole = clips.draw(4, 0, 5)
    shares = [clips.draw(4, 0, 5, share=slice(k, None, 2)) for k in range(2)]
    assert np.array_equal(whole.target[0::2], shares[0].target)
    assert np.array_equal(whole.target[1::2], shares[1].target)


def test_frames_of_a_pair_show_their_landmarks(clips: Clips) -> None:
    """Mirrored or not, the bright square stands where the labels say."""
    pairs = clips.draw(16, 0, 0)
    assert 0 < pairs.has_shape.sum() < 32
    for image, points in zip(pairs.photo, pairs.photo_points, strict=True):
        x, y = (points.mean(0) * SIDE).astype(int)
        background = image[0, 0].astype(int)
        assert np.abs(image[y, x].astype(int) - background).max() > 15


def test_joint_loss_reaches_every_weight(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "joint").train()
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0))
    loss, parts, _ = objective(batch, SIDE)
    loss.backward()
    silent = [
        n for n, p in objective.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert not silent
    assert set(parts) == {
        "pose",
        "expression",
        "independence",
        "picture",
        "ssim",
        "grid",
        "warped",
        "mesh",
        "smooth",
    }


def test_render_phase_teaches_all_but_the_motion_encoder(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "render").train()
    before = {n: v.clone() for n, v in objective.student.motion.state_dict().items()}
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0), "render")
    loss, parts, _ = objective(batch, SIDE)
    loss.backward()
    for name, parameter in objective.named_parameters():
        learns = not name.startswith(("student.motion.", "head."))
        assert (parameter.grad is not None) == learns, name
    assert {"performed", "mixed"} < set(parts)
    after = objective.student.motion.state_dict()
    assert all(torch.equal(v, after[n]) for n, v in before.items())  # batch statistics too


def test_tune_phase_teaches_everything_and_keeps_the_readers_statistics(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "tune").train()
    before = {n: v.clone() for n, v in objective.student.motion.named_buffers()}
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0), "tune")
    loss, parts, _ = objective(batch, SIDE)
    loss.backward()
    assert {"pose", "expression", "performed", "mixed", "picture"} < set(parts)
    assert all(p.grad is not None for p in objective.parameters())
    after = dict(objective.student.motion.named_buffers())
    assert all(torch.equal(v, after[n]) for n, v in before.items())


def test_a_judge_learns_nothing_from_what_it_judges() -> None:
    judge, picture = torch.nn.Linear(4, 2), torch.rand(3, 4, requires_grad=True)
    judged(judge, picture).sum().backward()
    assert judge.weight.grad is None
    assert picture.grad is not None
    assert torch.allclose(judged(judge, picture), judge(picture))


def test_a_picture_that_reads_like_the_target_performs_it(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "render").train()
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0), "render")
    unmoved = torch.eye(2, 3).expand(4, 2, 3).contiguous()
    batch |= {"place": unmoved, "target_moved": batch["target"]}
    same, other = (objective._performed(batch[n], batch) for n in ("target", "photo"))
    assert float(same) < float(other) / 100


def test_photos_perform_the_pose_of_one_stranger_and_the_expression_of_another(
    clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(build(tiny(), SIDE), "render").train()
    side, code = objective.student.dims.side, objective.student.dims.code
    drawn = torch.rand(2, 3, side, side, requires_grad=True)
    asked: list[torch.Tensor] = []

    def draw(*given: torch.Tensor) -> Rendered:
        asked.extend(given)
        return Rendered(drawn, drawn, drawn, drawn)

    monkeypatch.setattr(objective.student.render, "draw", draw)
    driving = torch.arange(4.0)[:, None].expand(4, code) * 0.01
    maps = tuple(torch.full((4, 1, 1, 1), float(k)) for k in range(3))
    objective._mixed((maps[0], maps[1], maps[2]), driving, driving).backward()
    mixed = asked[-1] * 100
    assert torch.allclose(mixed[:, : len(POSE)].mean(1), torch.tensor([3.0, 1.0]))
    assert torch.allclose(mixed[:, len(POSE) :].mean(1), torch.tensor([2.0, 0.0]))
    assert drawn.grad is not None
    assert drawn.grad.abs().max() > 0
    assert torch.equal(drawn.grad[:, 0], drawn.grad[:, 2])  # colours earn nothing


def test_extremes_of_expression_are_drawn_far_more_often_than_they_happen(clips: Clips) -> None:
    for labels in clips.labels:
        labels.blendshapes[:] = 0
        labels.blendshapes[3, [9, 10]] = 1  # one blink
    picked = [clips._pick(np.random.default_rng([0, k])) for k in range(400)]
    share = np.mean([target == 3 for _, _, target, _ in picked])
    assert share > 2.5 / FRAMES
    assert any(photo == target for _, photo, target, _ in picked)


def test_motion_phase_teaches_the_motion_encoder_only(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "motion").train()
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0))
    objective(batch, SIDE)[0].backward()
    taught = {
        n.split(".")[1] if n.startswith("student") else "head"
        for n, p in objective.named_parameters()
        if p.grad is not None
    }
    assert taught == {"motion", "head"}


@pytest.mark.slow
def test_loss_falls_on_what_is_seen(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "LOG_EVERY", 10)
    plan = (Phase("joint", SIDE, 4, 80, 3e-3),)
    lines: list[dict[str, float]] = []
    train(dataclasses.replace(options, plan=plan), lines.append)
    first, last = lines[0], lines[-1]
    assert last["loss"] < 0.8 * first["loss"]  # 0.49; 1.04 at a rate of 1e-12
    assert last["mesh"] < first["mesh"]


def test_a_face_performs_in_brightness_not_in_colours(clips: Clips) -> None:
    objective = Objective(build(tiny(), SIDE), "render").eval()
    batch = to_batch(clips.draw(4, 0, 0), torch.Generator().manual_seed(0), "render")
    teal, dark = torch.tensor([[-0.2, 0.1, 0.1], [-0.1, -0.1, -0.1]]).view(2, 1, 3, 1, 1)
    as_wanted, coloured, darkened = (
        objective._performed(batch["target"] + change, batch) for change in (0, teal, dark)
    )
    assert coloured == pytest.approx(as_wanted.item(), rel=1e-5)
    assert darkened != pytest.approx(as_wanted.item(), rel=1e-3)


@pytest.mark.parametrize("stop", [2, 3, 5])  # in the first phase, between the phases, in the second
def test_killed_run_goes_on_as_if_nothing_had_happened(
    options: TrainOptions,
    whole: dict[str, torch.Tensor],
    stop_training: Callable[[int], None],
    stop: int,
) -> None:
    parts = dataclasses.replace(options, save_every=1)
    stop_training(stop)
    with pytest.raises(KeyboardInterrupt):
        train(parts)
    resumed = load_file(train(parts))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_renderer_is_turned_to_an_encoder_that_learnt_on_without_it(
    options: TrainOptions,
) -> None:
    plan = (*PLAN, PLAN[0], Phase("render", SIDE, 4, 2, 1e-3))
    lines: list[dict[str, Any]] = []
    train(dataclasses.replace(options, plan=plan), lines.append)
    done = [line["hand_over"] for line in lines if "hand_over" in line]
    assert ["reread" in one for one in done] == [False, True]
    assert -1 < done[1]["reread"] <= 1


def test_weights_to_begin_with_get_a_head_that_reads_their_codes(options: TrainOptions) -> None:
    """By a random one their codes would be unlearnt, and pictures be judged by noise."""
    start = train(options)
    plan = (Phase("render", SIDE, 4, 1, 1e-9),)
    told = dataclasses.replace(options, start=start, out=options.out / "on", plan=plan)
    train(told)
    kept = Checkpoint.read(told.out / CHECKPOINT).model
    fitted = {n.removeprefix(HEAD): value for n, value in kept.items() if n.startswith(HEAD)}
    pairs = Clips(options.data, options.data / "labels", told.out / "cache", SIDE).draw(16, 1, 0)
    code = encode(
        load_student(start).eval().motion, np.concatenate([pairs.photo, pairs.target])
    ).float()
    head = LabelHead(code.shape[1])
    random = (head(code)[0].detach().numpy() - pairs.blendshapes) ** 2
    head.load_state_dict(fitted)
    told_by_it = (head(code)[0].detach().numpy() - pairs.blendshapes) ** 2
    assert told_by_it.mean() < random.mean() / 2


def test_critic_learns_beside_the_student(options: TrainOptions) -> None:
    lines: list[dict[str, float]] = []
    train(options, lines.append)
    assert "critic" not in lines[0]
    assert lines[-1]["critic"] > 0
    assert np.isfinite(lines[-1]["deceive"])


def test_monitor_tells_figures_and_writes_sheets(options: TrainOptions) -> None:
    lines: list[dict[str, Any]] = []
    train(dataclasses.replace(options, monitor=options.data), lines.append)
    seen = [line["monitor"] for line in lines if "monitor" in line]
    heard = {"corr_jaw", "corr_blink", "corr_smile", "pose_ratio"}
    assert set(seen[-1]) == heard | {"l1_ratio", "mesh_ratio"}
    assert -1 <= seen[-1]["corr_jaw"] <= 1
    assert [sheet.name for sheet in (options.out / "sheets").iterdir()] == ["000007.png"]


def test_weights_say_how_they_were_made(options: TrainOptions) -> None:
    from pocketportrait.models.weights import read_facts

    path = train(dataclasses.replace(options, licence="CC0-1.0"))
    assert read_facts(path)["steps"] == "7"
    assert read_facts(path)["licence"] == "CC0-1.0"
    assert load_student(path).dims == tiny()
    log = [json.loads(line) for line in (options.out / LOG).read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == [3, 7]


def test_a_checkpoint_of_other_sizes_is_refused(options: TrainOptions) -> None:
    train(dataclasses.replace(options, plan=PLAN[:1]))
    with pytest.raises(InputError, match="other sizes than preset 'phone'"):
        train(dataclasses.replace(options, preset="phone"))


def test_data_without_labels_says_which_command_makes_them(
    data: Path, options: TrainOptions, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="run: pocketportrait label"):
        train(dataclasses.replace(options, labels=tmp_path / "none"))


def test_learning_rate_warms_up_and_falls() -> None:
    phase = Phase("joint", SIDE, 4, 1000, 1.0, final=0.1)
    assert learning_rate(phase, 0) == pytest.approx(0.01)
    assert learning_rate(phase, 100) > 0.95
    assert learning_rate(phase, 1000) == pytest.approx(0.1)


def test_plan_comes_from_json(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([dataclasses.asdict(phase) for phase in PLAN]))
    assert read_plan(path) == PLAN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON list of phases"),
        ('[{"kind": "motion"}]', "missing 4 required"),
        ("[[]]", "want a JSON list"),
    ],
)
def test_plan_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_plan(path)


def test_phase_without_steps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([dataclasses.asdict(dataclasses.replace(PLAN[0], steps=0))]))
    with pytest.raises(InputError, match="phase 0: want kind motion or joint or render"):
        read_plan(path)
