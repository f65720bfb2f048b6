"""LivePortrait's networks with the formula's weights: what they compute, and what a frame costs.

One network is in memory at a time, so the whole run needs about 1 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pocketportrait.models.teachers.formula import formula_input, formula_network, smoothed
from pocketportrait.models.teachers.liveportrait_appearance import (
    CHANNELS,
    DEPTH,
    AppearanceExtractor,
)
from pocketportrait.models.teachers.liveportrait_generator import SpadeGenerator
from pocketportrait.models.teachers.liveportrait_keypoints import Pose, pose, relative
from pocketportrait.models.teachers.liveportrait_motion import KEYPOINTS, MotionExtractor
from pocketportrait.models.teachers.liveportrait_stitching import (
    eye_network,
    lip_network,
    stitch,
    stitching_network,
)
from pocketportrait.models.teachers.liveportrait_warp import WarpingModule

_VOLUME = (1, CHANNELS, DEPTH, 64, 64)
_POINTS = (1, KEYPOINTS, 3)

Outputs = Iterator[tuple[str, Tensor]]


def golden_outputs(device: str = "cpu", *, pictures: bool = True) -> Outputs:
    """Yield every golden output by name, the fast ones first.

    Args:
        device: where the networks run.
        pictures: also warp and generate, 2.5 TFLOP; without them it is 87 GFLOP.

    """
    with torch.inference_mode():
        photo, frame = (
            smoothed(formula_input(f"liveportrait.{name}", (1, 3, 256, 256), 0, 1)).to(device)
            for name in ("source", "driving")
        )
        poses: dict[str, Pose] = {}
        yield from _motion(device, {"source": photo, "driving": frame}, poses)
        source, driving = poses["source"], poses["driving"]
        yield "chain.x_rel", relative(source, driving, source).keypoints()
        yield from _keypoint_networks(device)
        stitching = formula_network(stitching_network, device)
        stitched = stitch(stitching, source.keypoints(), driving.keypoints())
        yield "chain.x_d_stitched", stitched
        volume = formula_network(AppearanceExtractor, device)(photo)
        yield "appearance.feature_3d", volume
        if pictures:
            yield from _pictures(device, volume, stitched, source.keypoints())


def gflop() -> dict[str, float]:
    """Return the cost of each network's one pass, counted on shapes alone (a MAC is 2 FLOP)."""
    picture, points = (1, 3, 256, 256), _POINTS
    passes: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
        "appearance": (AppearanceExtractor, [picture]),
        "motion": (MotionExtractor, [picture]),
        "warping": (WarpingModule, [_VOLUME, points, points]),
        "generator": (SpadeGenerator, [(1, 256, 64, 64)]),
    }
    costs = {}
    for name, (build, shapes) in passes.items():
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            build().eval()(*(torch.zeros(shape) for shape in shapes))
        costs[name] = counter.get_total_flops() / 1e9
    return costs


def _motion(device: str, pictures: dict[str, Tensor], poses: dict[str, Pose]) -> Outputs:
    network = formula_network(MotionExtractor, device)
    for name, picture in pictures.items():
        motion = network(picture)
        for head, value in motion._asdict().items():
            yield f"motion.{name}.{head}", value
        found = poses[name] = pose(motion)
        letter = name[0]
        for axis, angle in zip(("pitch", "yaw", "roll"), found.angles_B3.unbind(1), strict=True):
            yield f"chain.{axis}_{letter}", angle[:, None]
        yield f"chain.R_{letter}", found.rotation_B33
        yield f"chain.x_{letter}", found.keypoints()


def _keypoint_networks(device: str) -> Outputs:
    for name, build, width in (
        ("stitching", stitching_network, 126),
        ("lip", lip_network, 65),
        ("eye", eye_network, 66),
    ):
        stem = "stitch" if name == "stitching" else name
        x = formula_input(f"liveportrait.{stem}_in", (4, width), -1, 1).to(device)
        yield f"{name}.out", formula_network(build, device)(x)


def _pictures(device: str, volume: Tensor, stitched: Tensor, source: Tensor) -> Outputs:
    warping = formula_network(WarpingModule, device)
    noise = formula_input("liveportrait.feature_3d", _VOLUME, -1, 1).to(device)
    from_points = formula_input("liveportrait.kp_source", _POINTS, -0.6, 0.6).to(device)
    delta = formula_input("liveportrait.kp_delta", _POINTS, -0.15, 0.15).to(device)
    alone = warping(noise, from_points + delta, from_points)
    yield "warping.occlusion_map", alone.occlusion
    yield "warping.deformation", alone.deformation
    yield "warping.out", alone.features
    chained = warping(volume, stitched, source)
    yield "chain.occlusion", chained.occlusion
    yield "chain.deformation", chained.deformation
    del warping
    generator = formula_network(SpadeGenerator, device)
    features = formula_input("liveportrait.decoder_in", (1, 256, 64, 64), -1, 1).to(device)
    yield "generator.image", generator(features)
    yield "chain.image", generator(chained.features)
