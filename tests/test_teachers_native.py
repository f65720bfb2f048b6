"""Our own teacher draws what its network computes, relative to the first frame."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pocketportrait.cli.app import main
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.errors import InputError
from pocketportrait.models.dims import graph_specs, native, phone, tiny
from pocketportrait.models.student import Student
from pocketportrait.models.teachers.native import NativeTeacher, gflop
from pocketportrait.models.teachers.protocol import EncodingTeacher
from pocketportrait.models.weights import load_student, save_student

RANDOM = np.random.default_rng(3)


def picture() -> Array:
    return RANDOM.integers(0, 256, (256, 256, 3)).astype(np.uint8)


def tensor(one: Array) -> torch.Tensor:
    return torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    torch.manual_seed(0)
    save_student(
        Student(dataclasses.replace(tiny(), side=256)).eval(), folder / "student.safetensors"
    )
    return folder


def test_pictures_and_codes_are_the_networks(folder: Path) -> None:
    teacher = NativeTeacher.open(folder)
    assert isinstance(teacher, EncodingTeacher)
    network = load_student(folder / "student.safetensors")
    photo, frames = picture(), [picture() for _ in range(9)]
    codes = teacher.encode(iter(frames))
    with torch.no_grad():
        maps, source = network.appearance(tensor(photo)), network.motion(tensor(photo))
        one_by_one = torch.cat([network.motion(tensor(frame)) for frame in frames])
        wanted = network.render(*maps, source, source + (one_by_one[4:5] - one_by_one[:1]))
    assert codes.shape == (9, 16)
    assert np.abs(codes - one_by_one.numpy()).max() < 1e-5
    drawn = list(teacher.animate(photo, iter(frames)))
    assert len(drawn) == 9
    off = drawn[4].transpose(2, 0, 1) - wanted[0].numpy() * 255
    assert np.abs(off).max() <= 0.51
    assert teacher.encode([]).shape == (0, 16)


def test_a_still_driver_leaves_the_photo_as_it_stands(folder: Path) -> None:
    teacher = NativeTeacher.open(folder)
    photo, frame = picture(), picture()
    first, again = teacher.animate(photo, [frame, frame])
    (own,) = teacher.animate(photo, [photo])
    assert np.array_equal(first, again)
    assert np.array_equal(first, own)


def test_it_costs_ten_times_a_student() -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        student = Student(phone()).eval()
        for graph in GRAPHS[1:]:
            feed = [torch.zeros(spec.shape) for spec in graph_specs(phone())[graph].inputs]
            getattr(student, graph)(*feed)
    costs = gflop()
    assert costs["motion"] + costs["render"] >= 10 * counter.get_total_flops() / 1e9
    assert native().code == phone().code


def test_check_renders_a_frame(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "check", "native", "--weights", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "M parameters, codes of 16" in told
    assert "frame: 256x256" in told


def test_a_folder_must_hold_one_network_of_the_right_side(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"want one student\.safetensors, got 0"):
        NativeTeacher.open(tmp_path)
    save_student(Student(tiny()), tmp_path / "student.safetensors")
    with pytest.raises(InputError, match="want side 256, got 64"):
        NativeTeacher.open(tmp_path)
