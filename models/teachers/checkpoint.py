"""Checkpoints of other projects: read without running their code, loaded only if every name fits."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pocketportrait.errors import InputError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
MOST_NAMED = 8  # keys that one message lists

Network = TypeVar("Network", bound=nn.Module)


def find_checkpoint(folder: Path, stem: str) -> Path:
    """Return the one file `stem`.pth, .pt, .bin or .safetensors in `folder` or below.

    Raises:
        InputError: no such folder, no such file, or several.

    """
    if not folder.is_dir():
        raise InputError(f"{folder}: want a folder with checkpoints, got nothing there")
    found = sorted(
        path for path in folder.rglob(f"{stem}.*") if path.suffix in SUFFIXES and path.is_file()
    )
    if not found:
        raise InputError(
            f"{folder}: want {stem}{SUFFIXES[1]} or {stem}{SUFFIXES[0]}, got none;"
            " put the published file there, in any subfolder"
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise InputError(f"{folder}: want one file {stem}, got {names}; leave one of them")
    return found[0]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; nested dicts are joined with dots. No pickled code is ever run.

    Raises:
        InputError: broken, or anything but tensors in it.

    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: want a checkpoint of tensors alone, got another or a broken file ({reason});"
            " download it again; pickled code is never run"
        ) from error
    return dict(_flatten(content, path, ""))


def load_strictly(
    build: Callable[[], Network], tensors: Mapping[str, Tensor], name: str
) -> Network:
    """Build a network around `tensors`, float32, in eval mode; no second copy of the weights is made.

    Args:
        build: makes the network; called on the meta device, so it may not compute buffers.
        tensors: the state dict.
        name: what a message calls the checkpoint.

    Raises:
        InputError: missing or unexpected keys, other shapes, NaN or infinity.

    """
    with torch.device("meta"):
        network = build()
    want = network.state_dict()
    missing = [key for key in want if key not in tensors]
    unexpected = [key for key in tensors if key not in want]
    if missing or unexpected:
        raise InputError(
            f"{name}: {len(missing)} of {len(want)} keys missing{_listed(missing)},"
            f" {len(unexpected)} unexpected{_listed(unexpected)};"
            " want the published checkpoint of exactly this network"
        )
    state = {key: _fitting(tensors[key], want[key], f"{name}: {key}") for key in want}
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def find_device(name: str) -> torch.device:
    """Return a device that works here.

    Raises:
        InputError: no such device.

    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r}: want one of this machine, got: {reason}; cpu works"
        ) from error
    return device


def _fitting(tensor: Tensor, want: Tensor, name: str) -> Tensor:
    if tensor.shape != want.shape:
        raise InputError(
            f"{name}: want shape {list(want.shape)}, got {list(tensor.shape)};"
            " is it the checkpoint of another size?"
        )
    if tensor.is_floating_point() != want.is_floating_point():
        raise InputError(f"{name}: want {want.dtype}, got {tensor.dtype}; another network wrote it")
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise InputError(f"{name}: want finite weights, got NaN or infinity; download it again")
    return tensor.to(want.dtype)


def _flatten(content: Any, path: Path, prefix: str) -> list[tuple[str, Tensor]]:
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path}: want a dict of tensors, got {type(content).__name__}"
            f" at {prefix or 'the top'!r}; is it the weights file?"
        )
    found: list[tuple[str, Tensor]] = []
    for key, value in content.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        found += [(name, value)] if isinstance(value, Tensor) else _flatten(value, path, name)
    return found


def _listed(keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return f" ({', '.join(keys[:MOST_NAMED])}{more})"
