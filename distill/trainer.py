"""Training a student from labelled clips, in phases: motion encoder, half size, full size."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pocketportrait.distill.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from pocketportrait.distill.clips import Clips
from pocketportrait.distill.monitor import Monitor
from pocketportrait.distill.objective import Kind, LossWeights, Objective, to_batch
from pocketportrait.errors import InputError
from pocketportrait.models.dims import PRESETS, StudentDims
from pocketportrait.models.student import Render, Student
from pocketportrait.models.weights import load_student, save_student

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT, WEIGHTS, LOG = "checkpoint.safetensors", "student.safetensors", "log.jsonl"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with one objective and one size."""

    kind: Kind
    side: int  # pixels of the rendered picture
    batch: int  # pairs a step, over all processes
    steps: int
    rate: float  # learning rate after 100 steps of warm-up
    final: float = (
        1.0  # share of `rate` left at the end; below 1 it falls as a cosine over the phase
    )


def phone_plan() -> tuple[Phase, ...]:
    """Return the phases that the shipped weights were trained by."""
    return (
        Phase("motion", 256, 32, 1500, 2e-3, 0.3),
        Phase("joint", 128, 16, 12000, 1e-3),
        Phase("joint", 256, 8, 12000, 6e-4),
        Phase("joint", 256, 8, 4000, 6e-4, 0.03),
    )


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `pocketportrait train` is told."""

    data: Path  # folder with clips/
    out: Path  # where checkpoint, weights, log and sheets go
    labels: Path | None = None  # data/labels when not given
    cache: Path | None = None  # out/cache when not given
    preset: str = "phone"
    plan: tuple[Phase, ...] = ()
    seed: int = 0
    minutes: float = math.inf  # stop (resumable) after this long
    start: Path | None = None  # weights to begin with instead of random ones
    monitor: Path | None = None  # another labelled folder to watch figures on
    monitor_labels: Path | None = None
    save_every: int = 250
    average: float = 0.999  # decay of the moving average that is shipped
    threads: int | None = None


def train(options: TrainOptions, on_line: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Train, or go on where a stopped run stood.

    Args:
        options: what to train on and where to write.
        on_line: called with every line of the log.

    Returns:
        The weights file: the moving average, float16, with the steps in its metadata.

    Raises:
        InputError: no data, or a checkpoint of other sizes in `out`.

    """
    from accelerate import Accelerator

    if options.threads:
        torch.set_num_threads(options.threads)
    accelerator = Accelerator(mixed_precision="bf16")
    run = _Run(options, accelerator, on_line or (lambda line: None))
    return run.go()


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        options: TrainOptions,
        accelerator: Accelerator,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        self.options, self.accelerator, self.on_line = options, accelerator, on_line
        self.plan = options.plan or phone_plan()
        self.began = time.monotonic()
        cache = options.cache or options.out / "cache"
        if options.preset not in PRESETS:
            raise InputError(f"preset: want one of {sorted(PRESETS)}, got {options.preset!r}")
        self.dims = PRESETS[options.preset]()
        self.state = self._first_state()
        with accelerator.main_process_first():
            labels = options.labels or options.data / "labels"
            self.clips = Clips(options.data, labels, cache, self.dims.side)
            self.monitor: Monitor | None = None
            if options.monitor and accelerator.is_main_process:
                watched = options.monitor_labels or options.monitor / "labels"
                self.monitor = Monitor(
                    Clips(options.monitor, watched, cache, self.dims.side), options.out / "sheets"
                )

    def _first_state(self) -> Checkpoint:
        path = self.options.out / CHECKPOINT
        if path.is_file():
            state = Checkpoint.read(path)
            if state.dims != self.dims.to_json():
                raise InputError(
                    f"{path}: its student has other sizes than preset"
                    f" {self.options.preset!r}; use another --out"
                )
            return state
        state = Checkpoint(self.dims.to_json())
        if self.options.start:
            weights = load_student(self.options.start)
            if weights.dims != self.dims:
                raise InputError(
                    f"{self.options.start}: want the sizes of preset {self.options.preset!r}, got others"
                )
            state.model = {f"student.{name}": value for name, value in weights.state_dict().items()}
            state.average = dict(state.model)
        return state

    def go(self) -> Path:
        while self.state.phase < len(self.plan) and not self._out_of_time():
            self._run_phase(self.plan[self.state.phase])
        weights = self.options.out / WEIGHTS
        return weights

    def _out_of_time(self) -> bool:
        return time.monotonic() - self.began > self.options.minutes * 60

    def _run_phase(self, phase: Phase) -> None:
        state = self.state
        torch.manual_seed(self.options.seed)
        objective = Objective(build(self.dims, phase.side), phase.kind, LossWeights())
        if state.model:
            objective.load_state_dict(state.model, strict=not self.options.start)
        objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(
            objective.parameters(), phase.rate, betas=(0.9, 0.99), weight_decay=1e-3
        )
        objective.to(self.accelerator.device)
        named = dict(objective.named_parameters())
        restore_optimiser(optimiser, named, state.optimiser)
        average = {
            name: state.average.get(name, value).clone()
            for name, value in objective.state_dict().items()
        }
        wrapped, optimiser = self.accelerator.prepare(objective, optimiser)
        wrapped.train()
        sums: dict[str, float] = {}
        window, mark = 0, time.monotonic()
        while state.phase_step < phase.steps and not self._out_of_time():
            parts = self._step(phase, wrapped, optimiser)
            state.step, state.phase_step, window = state.step + 1, state.phase_step + 1, window + 1
            self._follow(average, objective)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            last = state.phase_step == phase.steps or self._out_of_time()
            if window == 50 or last:
                rate = phase.batch * window / (time.monotonic() - mark)
                self._log(
                    {n: round(s / window, 5) for n, s in sums.items()}
                    | {"pairs_per_s": round(rate, 2)}
                )
                sums, window, mark = {}, 0, time.monotonic()
            if state.phase_step % self.options.save_every == 0 or last:
                self._save(objective, optimiser, average, phase)
        if state.phase_step >= phase.steps:
            state.phase, state.phase_step, state.optimiser = state.phase + 1, 0, {}
            self._write(state)

    def _step(self, phase: Phase, wrapped: torch.nn.Module, optimiser: Any) -> dict[str, Tensor]:
        seed, step = self.options.seed, self.state.step
        here, all_of_us = self.accelerator.process_index, self.accelerator.num_processes
        rng = torch.Generator().manual_seed((seed << 40) + step * 4096 + here)
        pairs = self.clips.draw(phase.batch, seed, step, share=slice(here, None, all_of_us))
        device = self.accelerator.device
        batch = {name: value.to(device) for name, value in to_batch(pairs, rng).items()}
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(phase, self.state.phase_step)
        loss, parts = wrapped(batch, phase.side)
        if not torch.isfinite(loss):
            raise InputError(
                f"step {step}: the loss is {float(loss)}; lower the rate or check the data"
            )
        optimiser.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimiser.step()
        return {"loss": loss.detach(), **parts}

    def _follow(self, average: dict[str, Tensor], objective: Objective) -> None:
        decay = min(self.options.average, (1 + self.state.step) / (10 + self.state.step))
        for name, value in objective.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)

    def _log(self, line: dict[str, Any]) -> None:
        place = {
            "phase": self.state.phase,
            "step": self.state.step,
            "minutes": round((time.monotonic() - self.began) / 60, 2),
        }
        if self.accelerator.is_main_process:
            self.options.out.mkdir(parents=True, exist_ok=True)
            with (self.options.out / LOG).open("a") as file:
                file.write(json.dumps(place | line) + "\n")
            self.on_line(place | line)

    def _save(
        self, objective: Objective, optimiser: Any, average: dict[str, Tensor], phase: Phase
    ) -> None:
        if not self.accelerator.is_main_process:
            return
        names: dict[Tensor, str] = {value: name for name, value in objective.named_parameters()}
        self.state.model = {
            name: value.detach().clone() for name, value in objective.state_dict().items()
        }
        self.state.average = average
        self.state.optimiser = optimiser_tensors(getattr(optimiser, "optimizer", optimiser), names)
        self._write(self.state)
        shipped = build(self.dims, self.dims.side)
        prefix = "student."
        shipped.load_state_dict(
            {n.removeprefix(prefix): v.cpu() for n, v in average.items() if n.startswith(prefix)}
        )
        facts = {"steps": str(self.state.step), "preset": self.options.preset}
        save_student(shipped, self.options.out / WEIGHTS, facts=facts)
        if self.monitor and phase.kind == "joint":
            self._log({"monitor": self.monitor.look(shipped.eval(), self.state.step)})

    def _write(self, state: Checkpoint) -> None:
        if self.accelerator.is_main_process:
            state.write(self.options.out / CHECKPOINT)


def build(dims: StudentDims, side: int) -> Student:
    """Return a student whose renderer works at `side`; its motion encoder keeps the full side."""
    student = Student(dims)
    if side != dims.side:
        student.render = Render(dataclasses.replace(dims, side=side))
    return student


def learning_rate(phase: Phase, step: int) -> float:
    """Return the learning rate of a phase's step: 100 steps of warm-up, then constant or a cosine."""
    warm = min(1.0, (step + 1) / 100)
    fall = phase.final + (1 - phase.final) * 0.5 * (1 + math.cos(math.pi * step / phase.steps))
    return phase.rate * warm * fall
