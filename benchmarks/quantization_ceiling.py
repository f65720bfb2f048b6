"""What static int8 can reach at most: the rounded student against its float self, part by part.

    python benchmarks/quantization_ceiling.py BUNDLE --calibration SET --judge CLIPS [--qat DIR]

BUNDLE was exported from the weights (`--weights`, the shipped ones by default). In torch, so that weights
and activations can be rounded apart from each other: everything as the recipe says, weights alone,
activations alone, and activations by the range that each picture itself has, which no range that is
fixed before can beat by knowing the pictures. With --qat, what `pocketportrait qat` left in DIR (weights
and ranges) is compared with the same float student. dB inside the usual face box, peak 1.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.models.student import Student
from pocketportrait.models.weights import load_student, shipped_weights
from pocketportrait.quantize import fake
from pocketportrait.quantize.calibrated import Calibration
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.comparison import Pair, face_psnr_db
from pocketportrait.quantize.judging import judged_pairs
from pocketportrait.quantize.plan import INPUT, RESULT
from pocketportrait.quantize.qat import RANGES, Rounding
from pocketportrait.quantize.ranges import LearntRanges, read_ranges
from pocketportrait.quantize.recipe import read_recipe

Picture = Callable[[Tensor, Tensor], Tensor]


class Rounded:
    """A student whose layers round as a recipe says."""

    def __init__(self, weights: Path, rounding: Rounding) -> None:
        """Load weights, fold norms and attach ranges that nothing was seen by."""
        self.student = load_student(weights).eval()
        fake.fold_norms(self.student)
        self._rounding = rounding
        self._held = {graph: nn.ModuleDict() for graph in GRAPHS}
        for graph in GRAPHS:
            part = getattr(self.student, graph)
            fake.attach(part, rounding.plans[graph], rounding.sites[graph], self._held[graph])
        self.look(False)

    def ranges(self) -> list[fake.FakeRange]:
        """Return all ranges."""
        held = self._held.values()
        return [cast(fake.FakeRange, one) for ranges in held for one in ranges.values()]

    def forget(self) -> None:
        """Let the next pass see afresh."""
        for one in self.ranges():
            one.low.data.zero_()
            one.high.data.zero_()
            one.seen.zero_()

    def look(self, looking: bool) -> None:
        """Let every pass widen the ranges, or none."""
        for one in self.ranges():
            one.training = looking

    def calibrate(self, feeds: dict[str, list[Feed]]) -> None:
        """See what the graphs are fed with in calibration."""
        self.look(True)
        self.forget()
        with patch.object(fake, "OBSERVED", math.inf):  # every picture counts
            for graph in GRAPHS:
                spec = ("photo",) if graph == "appearance" else ("frame",)
                names = spec if graph != "render" else RENDER_INPUTS
                for feed in feeds[graph]:
                    getattr(self.student, graph)(*(torch.from_numpy(feed[name]) for name in names))
        self.look(False)

    def take(self, learnt: LearntRanges) -> None:
        """Take learnt ranges, by layer and side."""
        for graph, ranges in learnt.ranges.items():
            by_site = {}
            for layer, sites in self._rounding.sites[graph].items():
                for side, site in ((INPUT, sites.input), (RESULT, sites.result)):
                    if f"{layer}:{side}" in ranges:
                        by_site[site.name] = ranges[f"{layer}:{side}"]
            for one in self._held[graph].values():
                held = cast(fake.FakeRange, one)
                if held.site.name not in by_site:
                    raise SystemExit(f"error: --qat: want ranges of {held.site.name}, got none")
                low, high = by_site[held.site.name]
                held.low.data.fill_(low)
                held.high.data.fill_(high)
                held.seen.fill_(1)

    def picture(self, photo: Tensor, frame: Tensor) -> Tensor:
        """Return the photo performing the frame."""
        student = self.student
        maps = student.appearance(photo)
        return cast(Tensor, student.render(*maps, student.motion(photo), student.motion(frame)))

    def picture_by_its_own_ranges(self, photo: Tensor, frame: Tensor) -> Tensor:
        """Return the same with the ranges that exactly these passes have."""
        self.look(True)
        self.forget()
        student = self.student
        maps, source = student.appearance(photo), student.motion(photo)
        self.forget()
        driving = student.motion(frame)
        found = cast(Tensor, student.render(*maps, source, driving))
        self.look(False)
        return found


RENDER_INPUTS = ("features", "features_flow", "features_skip", "source_code", "driving_code")


def score(picture: Picture, pairs: Sequence[Pair], wanted: Sequence[Tensor]) -> dict[str, float]:
    """Return mean and worst dB."""
    found = [
        face_psnr_db(want.numpy(), picture(*map(torch.from_numpy, pair)).numpy())
        for want, pair in zip(wanted, pairs, strict=True)
    ]
    return {"db": float(np.mean(found)), "worst_db": float(min(found))}


def float_weights(weight: Tensor, _: object) -> Tensor:
    """Return a weight as it is."""
    return weight


@torch.inference_mode()
def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the figures of every part."""
    recipe = read_recipe(options.recipe)
    with Bundle.open(options.bundle) as bundle:
        rounding = Rounding.of(bundle, recipe)
        calibration = Calibration.open(bundle, [recipe], options.calibration)
        pairs, judged = judged_pairs(
            options.judge, options.pairs, bundle.graph_spec("motion").inputs[0].shape[-1]
        )
        assert calibration.chosen is not None
        if judged & {frame.sha256 for frame in calibration.chosen.frames}:
            raise SystemExit("error: --judge: want clips that ranges are not measured on")
        feeds = calibration.feeds(bundle)
    student: Student = load_student(options.weights).eval()
    wanted = [student(*map(torch.from_numpy, pair)) for pair in pairs]
    found: dict[str, dict[str, float]] = {}

    def tell(name: str, picture: Picture) -> None:
        found[name] = score(picture, pairs, wanted)
        print(
            f"{name:32s} {found[name]['db']:.2f} dB, worst {found[name]['worst_db']:.2f}",
            flush=True,
        )

    rounded = Rounded(options.weights, rounding)
    tell("weights", rounded.picture)  # nothing was seen yet, so that activations stay float
    rounded.calibrate(feeds)
    tell("weights and activations", rounded.picture)
    with patch.object(fake, "fake_weight", float_weights):
        tell("activations", rounded.picture)
        tell("activations, own ranges", rounded.picture_by_its_own_ranges)
    tell("both, own ranges", rounded.picture_by_its_own_ranges)
    if options.qat:
        learnt = Rounded(options.qat / "student.safetensors", rounding)
        own = load_student(options.qat / "student.safetensors").eval()
        tell("fine-tuned, in float", lambda photo, frame: cast(Tensor, own(photo, frame)))
        learnt.take(read_ranges(options.qat / RANGES))
        tell("fine-tuned", learnt.picture)
        learnt.forget()
        learnt.calibrate(feeds)
        tell("fine-tuned, measured ranges", learnt.picture)
    return found


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--weights", type=Path, default=shipped_weights())
    parser.add_argument("--recipe", default="w8a8")
    parser.add_argument("--calibration", type=Path, required=True, help="clips, or a set")
    parser.add_argument("--judge", type=Path, required=True, help="other clips")
    parser.add_argument("--pairs", type=int, default=28)
    parser.add_argument("--qat", type=Path, help="what `pocketportrait qat` left")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: Any = measure(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
