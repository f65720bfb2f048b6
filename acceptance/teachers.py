"""Acceptance of the teachers' networks against the reference data beside the checkout.

    python acceptance/teachers.py [--data DIR] [--device cpu]

LivePortrait: the published names, shapes and types exactly; every golden output, at the sampled places
and as a whole; then checkpoints made of the formula's weights, in the published containers, go through
`pocketportrait teacher check`. Exit 1 if a gate is missed. Needs 2 GB of memory and of disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pocketportrait.cli import main as pocketportrait
from pocketportrait.contract import Array
from pocketportrait.models.teachers.formula import formula_weights
from pocketportrait.models.teachers.golden import TOLERANCE
from pocketportrait.models.teachers.liveportrait import STITCHING_FILE, STITCHING_PARTS
from pocketportrait.models.teachers.liveportrait_appearance import AppearanceExtractor
from pocketportrait.models.teachers.liveportrait_generator import SpadeGenerator
from pocketportrait.models.teachers.liveportrait_golden import golden_outputs
from pocketportrait.models.teachers.liveportrait_motion import MotionExtractor
from pocketportrait.models.teachers.liveportrait_stitching import (
    eye_network,
    lip_network,
    stitching_network,
)
from pocketportrait.models.teachers.liveportrait_warp import WarpingModule

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "teachers"
HALF_TOLERANCE = 1e-3  # whole tensors are stored as float16, which alone is up to 3e-4

LARGE: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "appearance": ("appearance_feature_extractor", AppearanceExtractor),
    "motion": ("motion_extractor", MotionExtractor),
    "warping": ("warping_module", WarpingModule),
    "generator": ("spade_generator", SpadeGenerator),
}
SMALL = {"stitching": stitching_network, "lip": lip_network, "eye": eye_network}


def state_of(build: Callable[[], nn.Module]) -> Mapping[str, torch.Tensor]:
    """Return a network's names and shapes, without memory behind them."""
    with torch.device("meta"):
        return build().state_dict()


def check_keys(data: Path) -> bool:
    """Compare names, shapes and types with the published ones."""
    passed = True
    for stem, build in [*LARGE.values(), *SMALL.items()]:
        listed = json.loads((data / f"{stem}.keys.json").read_text())["keys"]
        want = {(one["key"], tuple(one["shape"]), one["dtype"]) for one in listed}
        got = {
            (key, tuple(value.shape), str(value.dtype).removeprefix("torch."))
            for key, value in state_of(build).items()
        }
        passed &= got == want
        print(f"keys {stem}: {len(got & want)} of {len(want)}, {len(got - want)} others")
    return passed


def difference(got: Array, want: Array) -> float:
    """Return the relative L2 distance."""
    error = got.astype(np.float64).ravel() - want.astype(np.float64).ravel()
    return float(np.linalg.norm(error) / max(np.linalg.norm(want.astype(np.float64)), 1e-30))


def reference(data: Path, name: str) -> tuple[Any, str]:
    """Return the file of a golden output and the output's name in it."""
    network, _, rest = name.partition(".")
    if network == "chain":
        return np.load(data / "chain.golden.npz"), rest
    if network in SMALL:
        return np.load(data / f"{STITCHING_FILE}.golden.npz"), f"out.{network}"
    return np.load(data / f"{LARGE[network][0]}.golden.npz"), f"out.{rest}"


def check_golden(data: Path, device: str) -> bool:
    """Compare every golden output at its places, as a whole where it was kept, and by its norm."""
    passed, count = True, 0
    for name, value in golden_outputs(device):
        file, key = reference(data, name)
        got = value.cpu().numpy()
        passed &= got.shape == tuple(file[f"{key}.shape"])
        sampled = difference(got.ravel()[file[f"{key}.idx"]], file[f"{key}.val"])
        norm = float(np.linalg.norm(got.astype(np.float64))) / file[f"{key}.stats"][4] - 1
        whole = difference(got, file[key]) if key in file.files else 0.0
        good = sampled < TOLERANCE and abs(norm) < TOLERANCE and whole < HALF_TOLERANCE
        passed, count = passed and good, count + 1
        print(f"{name}: sampled {sampled:.1e}, norm {norm:+.1e}, whole {whole:.1e}", flush=True)
    wanted = sum(
        sum(key.endswith(".shape") and not key.startswith("in.") for key in np.load(file).files)
        for file in data.glob("*.golden.npz")
    )
    print(f"golden outputs: {count} of {wanted}")
    return passed and count == wanted


def write_checkpoints(folder: Path) -> None:
    """Write the formula's weights in the containers of the published ones."""
    for stem, build in LARGE.values():
        torch.save(formula_weights(state_of(build)), folder / f"{stem}.pth")
    parts = {}
    for part, build in STITCHING_PARTS.items():
        weights = formula_weights(state_of(build))
        parts[part] = {f"module.{key}": value for key, value in weights.items()}
    torch.save(parts, folder / f"{STITCHING_FILE}.pth")


def check_command(device: str) -> bool:
    """Run `teacher check` on whole checkpoints, and on one that lacks a key."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoints(folder)
        command = ["teacher", "check", "liveportrait", "--weights", name, "--device", device]
        passed = pocketportrait(command) == 0
        path = folder / "motion_extractor.pth"
        weights = torch.load(path, weights_only=True)
        weights["detector.fc_expr.bias"] = weights.pop("detector.fc_exp.bias")
        torch.save(weights, path)
        return passed and pocketportrait(command) == 2


def main() -> int:
    """Run everything; 0 if all gates are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "liveportrait")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    passed = check_keys(options.data)
    passed &= check_golden(options.data, options.device)
    passed &= check_command(options.device)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
