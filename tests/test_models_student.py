import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.models.dims import PRESETS, StudentDims, dims_of, graph_specs, phone, tiny
from pocketportrait.models.layers import pixel_shuffle, spline_matrix
from pocketportrait.models.student import Student
from pocketportrait.models.weights import (
    average_students,
    load_student,
    read_facts,
    save_student,
)


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    return Student(tiny()).eval()


@pytest.fixture
def saved(student: Student, tmp_path: Path) -> Path:
    save_student(student, tmp_path / "s.safetensors", half=False)
    return tmp_path / "s.safetensors"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_outputs_have_the_shapes_of_the_contract(preset: str) -> None:
    dims = PRESETS[preset]()
    student, specs = Student(dims).eval(), graph_specs(dims)
    for name in GRAPHS:
        feed = [torch.rand(t.shape) for t in specs[name].inputs]
        with torch.no_grad():
            out = getattr(student, name)(*feed)
        out = out if isinstance(out, tuple) else (out,)
        assert [tuple(t.shape) for t in out] == [t.shape for t in specs[name].outputs]


def test_phone_keeps_its_parameter_budget() -> None:
    assert sum(p.numel() for p in Student(phone()).parameters()) <= 3.2e6


def test_image_stays_in_range_whatever_the_codes(student: Student) -> None:
    maps = student.appearance(torch.rand(1, 3, 64, 64))
    image = student.render(*maps, torch.randn(1, 16) * 30, torch.randn(1, 16) * 30)
    assert image.min() >= 0
    assert image.max() <= 1


def test_untrained_student_already_shows_the_photo(student: Student) -> None:
    """Luma at full size and chroma at half travel in the skip: a smooth photo comes back."""
    photo = F.interpolate(torch.rand(1, 3, 8, 8), 64, mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        image = student(photo, photo)
    correlation = torch.corrcoef(torch.stack([image.flatten(), photo.flatten()]))[0, 1]
    assert correlation > 0.97


def test_both_codes_reach_the_image(student: Student) -> None:
    maps = student.appearance(torch.rand(1, 3, 64, 64))
    a, b = torch.zeros(1, 16), torch.ones(1, 16)
    same, driven, sourced = (
        student.render(*maps, a, a),
        student.render(*maps, a, b),
        student.render(*maps, b, a),
    )
    assert (same - driven).abs().max() > 1e-4
    assert (driven - sourced).abs().max() > 1e-4


def test_pixel_shuffle_is_torchs_own_up_to_the_order_of_channels() -> None:
    x = torch.randn(2, 12, 5, 5)
    phases_last = x.view(2, 4, 3, 5, 5).transpose(1, 2).reshape(2, 12, 5, 5)
    assert torch.equal(pixel_shuffle(x), F.pixel_shuffle(phases_last, 2))


@pytest.mark.parametrize("side", [8, 16, 64])
def test_splines_keep_a_constant_and_the_order_of_controls(side: int) -> None:
    matrix = spline_matrix(8, side)
    torch.testing.assert_close(matrix.sum(1), torch.ones(side))
    slope = matrix @ torch.arange(8.0)
    assert slope.diff().min() > -0.02  # bicubic overshoots a little at the border


def test_weights_come_back_the_same(student: Student, saved: Path) -> None:
    again = load_student(saved)
    assert again.dims == student.dims
    assert not again.training
    for name, value in student.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_equal_weights_are_equal_files(student: Student, tmp_path: Path) -> None:
    facts = {name: "a fact" for name in "abcdefgh"}  # 1 in 10! orders is the sorted one
    for number in range(2):
        save_student(student, tmp_path / f"{number}.safetensors", facts=facts)
    first, second = ((tmp_path / f"{k}.safetensors").read_bytes() for k in range(2))
    assert first == second
    assert read_facts(tmp_path / "0.safetensors").items() >= facts.items()


def test_half_weights_are_half_the_bytes(student: Student, saved: Path, tmp_path: Path) -> None:
    save_student(student, tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * saved.stat().st_size


def rewrite(path: Path, **changes: torch.Tensor | None) -> None:
    with safe_open(str(path), "pt") as file:
        facts = file.metadata()
    tensors = load_file(path) | {k: v for k, v in changes.items() if v is not None}
    kept = {k: v for k, v in tensors.items() if k not in changes or changes[k] is not None}
    save_file(kept, path, metadata=facts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"motion.head.bias": torch.zeros(3)},
            r"motion\.head\.bias: want shape \(16,\), got \(3,\)",
        ),
        ({"motion.head.bias": None}, "weights are missing.*motion.head.bias"),
        ({"motion.tail": torch.zeros(3)}, "unknown weights.*motion.tail"),
        ({"motion.head.bias": torch.full((16,), float("nan"))}, "finite"),
    ],
)
def test_broken_weights_are_refused_by_name(
    saved: Path, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    rewrite(saved, **changes)
    with pytest.raises(InputError, match=message):
        load_student(saved)


def test_averaged_weights_are_the_mean_by_shares(
    student: Student, saved: Path, tmp_path: Path
) -> None:
    other = copy.deepcopy(student)
    for value in other.parameters():
        value.data += 3
    save_student(other, tmp_path / "b.safetensors", facts={"steps": "7", "licence": "Apache-2.0"})
    mean = tmp_path / "mean.safetensors"
    average_students([(saved, 1), (tmp_path / "b.safetensors", 2)], mean)
    first, got = load_student(saved), load_student(mean)
    for (name, a), b in zip(first.named_parameters(), got.parameters(), strict=True):
        assert (b - a - 2).abs().max() < 0.01, name  # stored in halves
    facts = read_facts(mean)
    assert (facts["steps"], facts["licence"]) == ("0.333 x ? + 0.667 x 7", "Apache-2.0")
    average_students([(mean, 1), (saved, 1)], tmp_path / "mean of mean.safetensors")
    steps = read_facts(tmp_path / "mean of mean.safetensors")["steps"]
    assert steps == "0.500 x (0.333 x ? + 0.667 x 7) + 0.500 x ?"


@pytest.mark.parametrize(
    ("shares", "message"), [((1,), "two or more"), ((1, 0), "above 0"), ((1, 1), "sizes")]
)
def test_what_cannot_be_averaged_is_refused(
    saved: Path, tmp_path: Path, shares: tuple[float, ...], message: str
) -> None:
    other = tmp_path / "other.safetensors"
    save_student(Student(dataclasses.replace(tiny(), code=tiny().code + 8)), other)
    with pytest.raises(InputError, match=message):
        average_students(list(zip((saved, other), shares, strict=False)), tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_pickle_is_refused(student: Student, tmp_path: Path) -> None:
    torch.save(student.state_dict(), tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="pickled checkpoints are never read"):
        load_student(tmp_path / "s.safetensors")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.safetensors: want a weights file"):
        load_student(tmp_path / "gone.safetensors")


def test_sizes_that_are_unlike_the_phones_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "narrow.json"
    path.write_text(json.dumps({"features": 48, "motion": [8, 16, 24, 48, 64]}))
    narrow = dims_of(str(path))
    assert narrow == dataclasses.replace(phone(), features=48, motion=(8, 16, 24, 48, 64))
    assert dims_of("phone") == phone()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "want a JSON object of sizes"),
        ("{", "want a JSON object of sizes"),
        ('{"featurs": 48}', "got featurs"),
        ('{"side": 100}', "want a multiple of 64"),
        ('{"features": "many"}', "features: want whole numbers"),
        ('{"features": -3}', "features: want whole numbers"),
    ],
)
def test_a_file_of_sizes_that_are_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        dims_of(str(path))


def test_a_preset_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="'phnoe'"):
        dims_of("phnoe")
    with pytest.raises(InputError, match=r"none\.json"):
        dims_of("none.json")


def test_dims_travel_as_json() -> None:
    assert StudentDims.from_json(tiny().to_json()) == tiny()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"side": 64}', tiny().to_json().replace("side", "size")]
)
def test_foreign_dims_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="dims: want the sizes of a student"):
        StudentDims.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"), [("side", 100), ("code", 6), ("code", 129), ("motion", (1, 2))]
)
def test_sizes_that_cannot_be_built_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}: want"):
        dataclasses.replace(tiny(), **{name: value})
