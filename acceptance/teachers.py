"""Acceptance of the teachers' networks against the reference data beside the checkout.

    python acceptance/teachers.py [--kind liveportrait xnemo personalive] [--data DIR] [--device cpu]

The published names, shapes and types exactly; every golden output, at the sampled places and as a whole
where that was kept. For LivePortrait, checkpoints made of the formula's weights, in the published
containers, go through `pocketportrait teacher check`. Exit 1 if a gate is missed. LivePortrait needs 2 GB
of memory and of disk; X-NeMo and PersonaLive need 8 GB of memory, one network at a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pocketportrait.cli import main as pocketportrait
from pocketportrait.contract import Array
from pocketportrait.models.teachers import xnemo_golden
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
from pocketportrait.models.teachers.personalive_pose import PoseExtractor, PoseGuider
from pocketportrait.models.teachers.xnemo_motion import MotionEncoder
from pocketportrait.models.teachers.xnemo_networks import Sizes, build_video_vae
from pocketportrait.models.teachers.xnemo_unet import DenoisingUNet, ReferenceUNet

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "teachers"
HALF_TOLERANCE = 1e-3  # whole tensors are stored as float16, which alone is up to 3e-4
MOST_MEMORY_GIB = 14

LARGE: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "appearance": ("appearance_feature_extractor", AppearanceExtractor),
    "motion": ("motion_extractor", MotionExtractor),
    "warping": ("warping_module", WarpingModule),
    "generator": ("spade_generator", SpadeGenerator),
}
SMALL = {"stitching": stitching_network, "lip": lip_network, "eye": eye_network}

XNEMO: dict[str, Callable[[], nn.Module]] = {
    "motion_encoder": MotionEncoder,
    "reference_unet": ReferenceUNet,
    "denoising_unet": DenoisingUNet,
    "vae_svd_temporal_decoder": lambda: build_video_vae(Sizes()),
}
PERSONALIVE: dict[str, Callable[[], nn.Module]] = {
    "motion_encoder": xnemo_golden.personalive_encoder,
    "reference_unet": ReferenceUNet,
    "denoising_unet": DenoisingUNet,
    "motion_extractor": PoseExtractor,
    "pose_guider": PoseGuider,
}
XNEMO_FILES = {
    "motion": "motion_encoder", "reference": "reference_unet", "denoising": "denoising_unet",
}  # fmt: skip


def state_of(build: Callable[[], nn.Module]) -> Mapping[str, torch.Tensor]:
    """Return a network's names and shapes, without memory behind them."""
    with torch.device("meta"):
        return build().state_dict()


def check_keys(data: Path, networks: Mapping[str, Callable[[], nn.Module]]) -> bool:
    """Compare names, shapes and types with the published ones."""
    passed = True
    for stem, build in networks.items():
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
    return float(np.linalg.norm(error) / np.maximum(np.linalg.norm(want.astype(np.float64)), 1e-30))


def liveportrait_reference(data: Path, name: str) -> tuple[Any, str]:
    """Return the file of a golden output and the output's name in it."""
    network, _, rest = name.partition(".")
    if network == "chain":
        return np.load(data / "chain.golden.npz"), rest
    if network in SMALL:
        return np.load(data / f"{STITCHING_FILE}.golden.npz"), f"out.{network}"
    return np.load(data / f"{LARGE[network][0]}.golden.npz"), f"out.{rest}"


def xnemo_reference(data: Path, name: str) -> tuple[Any, str]:
    """Return the file of a golden output and the output's name in it."""
    network, _, rest = name.partition(".")
    file = np.load(data / f"{XNEMO_FILES[network]}.golden.npz")
    return file, rest if rest.startswith(("bank.", "mid.")) else f"out.{rest}"


def check_golden(
    outputs: Iterator[tuple[str, torch.Tensor]], find: Callable[[str], tuple[Any, str]], wanted: int
) -> bool:
    """Compare every golden output at its places, as a whole where it was kept, and by its norm."""
    passed, count = True, 0
    for name, value in outputs:
        file, key = find(name)
        got = value.cpu().numpy()
        passed &= got.shape == tuple(file[f"{key}.shape"])
        sampled = difference(got.ravel()[file[f"{key}.idx"]], file[f"{key}.val"])
        norm = float(np.linalg.norm(got.astype(np.float64))) / file[f"{key}.stats"][4] - 1
        whole = difference(got, file[key]) if key in file.files else 0.0
        good = sampled < TOLERANCE and abs(norm) < TOLERANCE and whole < HALF_TOLERANCE
        passed, count = passed and good, count + 1
        print(f"{name}: sampled {sampled:.1e}, norm {norm:+.1e}, whole {whole:.1e}", flush=True)
    print(f"golden outputs: {count} of {wanted}")
    return passed and count == wanted


def count_golden(data: Path) -> int:
    """Return how many outputs the reference files of a folder hold."""
    return sum(
        sum(
            key.endswith(".shape") and not key.startswith(("in.", "buffer."))
            for key in np.load(file).files
        )
        for file in data.glob("*.golden.npz")
    )


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


def check_liveportrait(data: Path, device: str) -> bool:
    """Check LivePortrait."""
    folder = data / "liveportrait"
    passed = check_keys(folder, {**dict(LARGE.values()), **SMALL})
    passed &= check_golden(
        golden_outputs(device),
        lambda name: liveportrait_reference(folder, name),
        count_golden(folder),
    )
    return passed & check_command(device)


def check_xnemo(data: Path, device: str) -> bool:
    """Check X-NeMo, one network in memory at a time."""
    folder = data / "xnemo"
    passed = check_keys(folder, XNEMO)
    passed &= check_golden(
        xnemo_golden.golden_outputs(device),
        lambda name: xnemo_reference(folder, name),
        count_golden(folder),
    )
    return passed & check_memory()


def check_personalive(data: Path, device: str) -> bool:
    """Check PersonaLive, by the outputs that its networks share with X-NeMo's."""
    passed = check_keys(data / "personalive", PERSONALIVE)
    passed &= check_golden(
        xnemo_golden.shared_outputs(device), lambda name: xnemo_reference(data / "xnemo", name), 3
    )
    return passed & check_memory()


def check_memory() -> bool:
    """Return whether this process never held too much."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"memory: peak {peak:.1f} GiB, at most {MOST_MEMORY_GIB}")
    return peak <= MOST_MEMORY_GIB


KINDS = {
    "liveportrait": check_liveportrait,
    "xnemo": check_xnemo,
    "personalive": check_personalive,
}


def main() -> int:
    """Run everything; 0 if all gates are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    passed = True
    for kind in options.kind:
        print(kind)
        passed &= KINDS[kind](options.data, options.device)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
