"""Quantization-aware training: the student learns with rounded numbers, from clips and its float self.

It is a run of `distill`'s training loop whose objective rounds; weights and learnt ranges come out.
Why it is ours and no tool's: docs/decisions/0008-fake-quantization.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS
from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.objective import Kind, Objective, at_side
from pocketportrait.distill.plan import Phase, TrainOptions
from pocketportrait.distill.stage import Stage, build
from pocketportrait.distill.trainer import CHECKPOINT, Report, Run
from pocketportrait.errors import InputError
from pocketportrait.export.converter import converter
from pocketportrait.models.student import POSE_SPREAD, Student
from pocketportrait.models.weights import load_student
from pocketportrait.quantize.fake import FakeRange, attach, fold_norms
from pocketportrait.quantize.laboratory import START, layers_of_bundle
from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan, make_plan
from pocketportrait.quantize.ranges import LearntRanges
from pocketportrait.quantize.recipe import Recipe, static_w8a8
from pocketportrait.quantize.sites import LayerSites, find_sites

if TYPE_CHECKING:
    from accelerate import Accelerator

RANGES = "ranges.json"
CLOSE = 0.01  # of a layer's largest weight: the shipped ones are float16
UNIT = 0.01  # of a picture's full range: errors are told in hundredths before they are squared
LEARNABLE = ("fp32", "w8", "w8a8", "w4")


@dataclass(frozen=True, slots=True)
class QatOptions(TrainOptions):
    """What `pocketportrait qat` is told."""

    bundle: Path = Path()  # exported from the weights that training starts with
    recipe: Recipe = field(default_factory=static_w8a8)
    own_picture: float = 0.1  # weight of being unlike the float student's picture
    own_code: float = 1.0  # weight of being unlike its codes
    average: float = 0.99  # of few steps, which all count
    clips: float = 0.0  # weight of what the clips teach; at 0 it is not even computed


@dataclass(frozen=True, slots=True)
class Rounding:
    """What is rounded: settings of all layers, and the sites of those that compute in integers."""

    plans: Mapping[str, GraphPlan]
    sites: Mapping[str, Mapping[str, LayerSites]]

    @classmethod
    def of(cls, bundle: Bundle, recipe: Recipe) -> Self:
        """Read from a bundle's ONNX fp32 files what a recipe rounds.

        Raises:
            InputError: the recipe cannot be learnt, or rules match nothing.

        """
        if strange := sorted(recipe.schemes - set(LEARNABLE)):
            raise InputError(
                f"recipe {recipe.name}: want schemes that can be learnt ({', '.join(LEARNABLE)}),"
                f" got {', '.join(strange)}"
            )
        plans = make_plan(recipe, layers_of_bundle(bundle), ())
        files = bundle.variant("onnx", START).graphs
        with converter("onnx"):
            import onnx

            sites = {g: find_sites(onnx.load(bundle.file(files[g].path)), plans[g]) for g in GRAPHS}
        return cls(plans, sites)


def qat_plan() -> tuple[Phase, ...]:
    """Return the phases of fine-tuning the `phone` student; what they win: docs/decisions/0008.

    The rates are small on purpose: at five times as much the student moves further from its float self
    than rounding moves it, which steps of few pairs do, too: the second phase has more.
    """
    return (Phase("joint", 256, 4, 600, 8e-6, 0.05), Phase("joint", 256, 8, 200, 5e-6, 0.03))


def fine_tune(options: QatOptions, on_line: Report | None = None) -> Path:
    """Fine-tune with rounded numbers, or go on where a stopped run stood.

    Args:
        options: start, bundle, recipe, data, and where to write.
        on_line: called with every line of the log.

    Returns:
        The weights file, float and ready to export; `ranges.json` beside it is for
        `pocketportrait quantize --ranges`.

    Raises:
        InputError: no data, a recipe that cannot be learnt, a bundle of other weights, or a
            checkpoint of other sizes in `out`.

    """
    from accelerate import Accelerator

    if options.threads:
        torch.set_num_threads(options.threads)
    options = dataclasses.replace(options, plan=options.plan or qat_plan())
    # not in bfloat16: its 8 bits of precision would drown the steps that are learnt
    run = QatRun(options, Accelerator(mixed_precision="no"), on_line or (lambda line: None))
    return run.go()


class QatRun(Run):
    """One call of `fine_tune`."""

    options: QatOptions

    def __init__(self, options: QatOptions, accelerator: Accelerator, on_line: Report) -> None:
        """Read weights, bundle and recipe, and all that `Run` reads."""
        if options.start is None:
            raise InputError("start: want the weights to fine-tune, got none")
        self._float = load_student(options.start)
        fold_norms(self._float)
        with Bundle.open(options.bundle) as bundle:
            self._rounding = Rounding.of(bundle, options.recipe)
        _same_weights(self._float, self._rounding.plans, options)
        super().__init__(options, accelerator, on_line)

    def _first_state(self) -> Checkpoint:
        state = super()._first_state()
        if not (self.options.out / CHECKPOINT).is_file():
            folded = self._float.state_dict()
            state.model = {f"student.{name}": value.clone() for name, value in folded.items()}
            state.average = dict(state.model)
        return state

    def _stage(self, phase: Phase) -> Stage:
        return Stage(
            phase, self.dims, self.state, self.accelerator, self.options.seed, self._objective
        )

    def _objective(self, student: Student, phase: Phase) -> Objective:
        own = build(self._float.dims, student.render.flow.quarter * 4)
        own.load_state_dict(self._float.state_dict())
        return QatObjective(student, own, phase, self._rounding, self.options)

    def _save(self, stage: Stage) -> None:
        super()._save(stage)
        if self.accelerator.is_main_process:
            average = stage.averaged()
            assert isinstance(average, QatObjective)
            average.learnt(self.options.recipe, self.state.step).write(self.options.out / RANGES)


class QatObjective(Objective):
    """The loss of clips and of being unlike the float student, with rounded numbers."""

    def __init__(
        self, student: Student, own: Student, phase: Phase, rounding: Rounding, weights: QatOptions
    ) -> None:
        """Wrap a student with folded norms; `own` is its float self at the same size."""
        super().__init__(student, cast(Kind, phase.kind))
        self.ranges = nn.ModuleDict({graph: nn.ModuleDict() for graph in GRAPHS})
        self._rounding, self._told = rounding, weights
        self._own = [own.eval().requires_grad_(False)]  # in a list: no part of what is saved
        for graph in GRAPHS:
            held = cast(nn.ModuleDict, self.ranges[graph])
            attach(getattr(student, graph), rounding.plans[graph], rounding.sites[graph], held)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms are folded, so that they keep their statistics."""
        super().train(mode)
        for part in self.student.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
                part.weight.requires_grad_(False)
        return self

    def forward(
        self, batch: dict[str, Tensor], side: int
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Return the loss, its parts (detached), and the picture where one was rendered."""
        parts: dict[str, Tensor] = {}
        image: Tensor | None = None
        own = self._unlike(batch, side)
        loss = torch.stack([getattr(self._told, n) * v for n, v in own.items()]).sum()
        if self._told.clips:  # most of a step's time
            total, parts, image = super().forward(batch, side)
            loss = loss + self._told.clips * total
        return loss, parts | {name: value.detach() for name, value in own.items()}, image

    def _unlike(self, batch: dict[str, Tensor], side: int) -> dict[str, Tensor]:
        """Return how unlike the float student codes and pictures are, as they are in use.

        Squares, as in the dB that files are judged by: large errors are what lowers it.
        """
        names = ("photo_jittered", "target_moved") if self.kind == "motion" else ("photo", "target")
        frames = torch.cat([batch[name] for name in names])
        own = self._own[0].to(frames.device)
        code = self.student.motion(frames)
        with torch.no_grad():
            want = own.motion(frames)
        spread = torch.ones_like(want[:1])
        spread[:, : len(POSE_SPREAD)] = torch.tensor(POSE_SPREAD, device=want.device)
        found = {"own_code": (((code - want) / spread) ** 2).mean()}
        if self.kind != "motion":
            photo = at_side(batch["photo"], side)
            image = self.student.render(*self.student.appearance(photo), *code.chunk(2))
            with torch.no_grad():
                wanted = own.render(*own.appearance(photo), *want.chunk(2))
            found["own_picture"] = F.mse_loss(image / UNIT, wanted / UNIT)
        return found

    def learnt(self, recipe: Recipe, steps: int) -> LearntRanges:
        """Return the ranges as they are, for every integer layer's input and result."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for graph in GRAPHS:
            held = cast(nn.ModuleDict, self.ranges[graph])
            by_site = {
                one.site.name: one.pair()
                for one in held.values()
                if isinstance(one, FakeRange) and one.seen
            }
            pairs = {}
            for layer, sites in self._rounding.sites[graph].items():
                for side, site in ((INPUT, sites.input), (RESULT, sites.result)):
                    if site.name in by_site:
                        pairs[f"{layer}:{side}"] = by_site[site.name]
            if pairs:
                found[graph] = pairs
        return LearntRanges(recipe=str(recipe), steps=steps, ranges=found)


def _same_weights(student: Student, plans: Mapping[str, GraphPlan], options: QatOptions) -> None:
    """Refuse a bundle that was exported from other weights: its layers would be strangers."""
    for graph, plan in plans.items():
        for layer in plan.layers:
            try:
                module = getattr(student, graph).get_submodule(layer.name)
                weight = module.weight.detach().numpy()
            except AttributeError:
                weight = np.zeros(0)
            size = float(np.abs(layer.weight).max())
            if weight.shape != layer.weight.shape or not np.allclose(
                weight, layer.weight, atol=CLOSE * size, rtol=0
            ):
                raise InputError(
                    f"{options.bundle}: want a bundle exported from {options.start}, got other"
                    f" weights of {graph} {layer.name}; export one with `pocketportrait export`"
                )
