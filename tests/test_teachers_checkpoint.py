"""Checkpoints of other projects: no code is run, and every name must fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pocketportrait.errors import InputError
from pocketportrait.models.teachers.checkpoint import (
    find_checkpoint,
    find_device,
    load_strictly,
    read_checkpoint,
)
from pocketportrait.models.teachers.formula import formula_weights
from pocketportrait.models.teachers.liveportrait import (
    STITCHING_FILE,
    STITCHING_PARTS,
    LivePortrait,
    _read_keypoint_networks,
)


def layers() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def state() -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in layers().state_dict().items()}


class Trap:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("trap"),))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_both_containers_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"net{suffix}"
    path.parent.mkdir()
    want = state()
    save_file(want, path) if suffix == ".safetensors" else torch.save(want, path)
    assert find_checkpoint(tmp_path, "net") == path
    network = load_strictly(layers, read_checkpoint(path), "net")
    assert not network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, want[key])
        assert value.device.type == "cpu"
    assert not any(weight.requires_grad for weight in network.parameters())


def test_half_precision_is_widened() -> None:
    halved = {
        key: value.half() if value.is_floating_point() else value for key, value in state().items()
    }
    network = load_strictly(layers, halved, "net")
    assert {str(value.dtype) for value in network.state_dict().values()} == {
        "torch.float32",
        "torch.int64",
    }


def test_missing_and_unexpected_keys_are_named() -> None:
    broken = state()
    broken["0.weights"] = broken.pop("0.weight")
    with pytest.raises(InputError) as error:
        load_strictly(layers, broken, "net.pth")
    assert "net.pth: 1 of 7 keys missing (0.weight), 1 unexpected (0.weights)" in str(error.value)


def test_long_lists_of_keys_are_counted() -> None:
    many = {f"layer{index}.weight": torch.zeros(1) for index in range(20)}
    with pytest.raises(InputError, match=r"7 of 7 keys missing .* 20 unexpected .* and 12 more"):
        load_strictly(layers, many, "net")


def test_another_shape_is_refused() -> None:
    broken = state()
    broken["0.weight"] = torch.zeros(2, 4)
    with pytest.raises(InputError, match=r"net: 0\.weight: want shape \[2, 3\], got \[2, 4\]"):
        load_strictly(layers, broken, "net")


def test_weights_that_are_not_numbers_are_refused() -> None:
    broken = state()
    broken["0.bias"][0] = torch.nan
    with pytest.raises(InputError, match=r"0\.bias: want finite weights"):
        load_strictly(layers, broken, "net")


def test_integers_in_place_of_weights_are_refused() -> None:
    broken = state()
    broken["0.bias"] = broken["0.bias"].long()
    with pytest.raises(InputError, match=r"want torch\.float32, got torch\.int64"):
        load_strictly(layers, broken, "net")


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, write in (("new.pth", torch.save), ("old.pth", _plain_pickle)):
        write({"weight": Trap()}, tmp_path / name)
        with pytest.raises(InputError, match="pickled code is never run"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "trap").exists()


def _plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a file"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="broken file"):
        read_checkpoint(path)


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="broken file"):
        read_checkpoint(path)


def test_what_is_no_dict_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"want a dict of tensors, got int at 'epoch'"):
        read_checkpoint(tmp_path / "net.pth")


def test_missing_and_doubled_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="want a folder"):
        find_checkpoint(tmp_path / "nowhere", "net")
    with pytest.raises(InputError, match=r"want net\.pth or net\.safetensors, got none"):
        find_checkpoint(tmp_path, "net")
    (tmp_path / "net.pth").touch()
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(InputError, match=r"want one file net, got net\.pth, net\.safetensors"):
        find_checkpoint(tmp_path, "net")


def test_the_first_missing_file_of_a_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"want appearance_feature_extractor\.pth or"):
        LivePortrait.open(tmp_path)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert find_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="device 'toaster'"):
        find_device("toaster")


def three_in_one() -> dict[str, dict[str, torch.Tensor]]:
    """The published file of the small networks: three parts, each saved from a wrapper."""
    parts = {}
    for part, build in STITCHING_PARTS.items():
        weights = formula_weights(build().state_dict())
        parts[part] = {f"module.{key}": value for key, value in weights.items()}
    return parts


def test_the_three_small_networks_come_from_one_file(tmp_path: Path) -> None:
    path = tmp_path / f"{STITCHING_FILE}.pth"
    torch.save(three_in_one(), path)
    outputs = [list(network.parameters())[-1].shape[0] for network in _read_keypoint_networks(path)]
    assert outputs == [65, 63, 63]


def test_flat_names_of_the_three_small_networks_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / f"{STITCHING_FILE}.safetensors"
    flat = {f"{part}.{key}": v for part, keys in three_in_one().items() for key, v in keys.items()}
    save_file(flat, path)
    assert len(_read_keypoint_networks(path)) == 3


def test_a_missing_and_an_unknown_part_are_named(tmp_path: Path) -> None:
    path = tmp_path / f"{STITCHING_FILE}.pth"
    parts = three_in_one()
    del parts["retarget_mouth"]
    torch.save(parts, path)
    with pytest.raises(InputError, match=r"retarget_mouth: 8 of 8 keys missing \(mlp\.0\.weight"):
        _read_keypoint_networks(path)
    parts["retarget_nose"] = parts["retarget_eye"]
    torch.save(parts, path)
    with pytest.raises(InputError, match="got 'retarget_nose"):
        _read_keypoint_networks(path)
