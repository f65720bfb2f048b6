"""Training a student from labelled clips, in phases: motion encoder, half size, full size."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from pocketportrait.distill.checkpoint import Checkpoint
from pocketportrait.distill.clips import Clips, Pairs
from pocketportrait.distill.handover import encode, fitted_head, hand_over
from pocketportrait.distill.monitor import Monitor
from pocketportrait.distill.objective import Kind, to_batch
from pocketportrait.distill.plan import Phase, TrainOptions, phone_plan
from pocketportrait.distill.stage import HEAD, STUDENT, Stage, build
from pocketportrait.errors import InputError
from pocketportrait.models.dims import dims_of
from pocketportrait.models.student import Motion
from pocketportrait.models.weights import load_student, save_student

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT, WEIGHTS, LOG = "checkpoint.safetensors", "student.safetensors", "log.jsonl"
LOG_EVERY = 50  # steps
FRAMES = 1000  # that a head is fitted on, and a renderer turned to a changed encoder by
Report = Callable[[dict[str, Any]], None]


def train(options: TrainOptions, on_line: Report | None = None) -> Path:
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
    run = Run(options, Accelerator(mixed_precision="bf16"), on_line or (lambda line: None))
    return run.go()


class Run:
    """One call of `train`."""

    def __init__(self, options: TrainOptions, accelerator: Accelerator, on_line: Report) -> None:
        """Read the checkpoint, if there is one, and the data."""
        self.options, self.accelerator, self.on_line = options, accelerator, on_line
        self.plan = options.plan or phone_plan()
        self.began = time.monotonic()
        self.dims = dims_of(options.preset)
        self.state = self._first_state()
        self.monitor: Monitor | None = None
        self._gatherer = ThreadPoolExecutor(1, "pairs")
        self._ahead: dict[tuple[int, int], Future[Pairs]] = {}
        with accelerator.main_process_first():
            self._open_data()
            if options.monitor and accelerator.is_main_process:
                watched = self._clips(options.monitor, options.monitor_labels)
                self.monitor = Monitor(watched, options.out / "sheets")

    def _open_data(self) -> None:
        self.clips = self._clips(self.options.data, self.options.labels)

    def _clips(self, data: Path, labels: Path | None) -> Clips:
        cache = self.options.cache or self.options.out / "cache"
        return Clips(data, labels or data / "labels", cache, self.dims.side)

    def _first_state(self) -> Checkpoint:
        path, preset = self.options.out / CHECKPOINT, self.options.preset
        if path.is_file():
            state = Checkpoint.read(path)
            if state.dims != self.dims.to_json():
                raise InputError(
                    f"{path}: its student has other sizes than preset {preset!r}; use another --out"
                )
            return state
        state = Checkpoint(self.dims.to_json())
        if self.options.start:
            weights = load_student(self.options.start)
            if weights.dims != self.dims:
                raise InputError(
                    f"{self.options.start}: want the sizes of preset {preset!r}, got others"
                )
            state.model = {
                f"{STUDENT}{name}": value for name, value in weights.state_dict().items()
            }
            state.average = dict(state.model)
        return state

    def go(self) -> Path:
        """Train until the plan or the time ends; return the weights file."""
        with self._gatherer:
            while self.state.phase < len(self.plan) and not self._out_of_time():
                self._run_phase(self.plan[self.state.phase])
        return self.options.out / WEIGHTS

    def _out_of_time(self) -> bool:
        late = time.monotonic() - self.began > self.options.minutes * 60
        if self.accelerator.num_processes > 1:  # all stop after the same step, or none
            told = torch.tensor(float(late), device=self.accelerator.device)
            late = bool(self.accelerator.reduce(told, "sum") > 0)
        return late

    def _stage(self, phase: Phase) -> Stage:
        return Stage(phase, self.dims, self.state, self.accelerator, self.options.seed)

    def _run_phase(self, phase: Phase) -> None:
        state = self.state
        if state.phase_step == 0 and state.average:
            self._hand_over(phase)
        stage = self._stage(phase)
        window: list[dict[str, Tensor]] = []
        mark = time.monotonic()
        while state.phase_step < phase.steps:
            window.append(stage.step(self._batch(phase), state.phase_step))
            state.step, state.phase_step = state.step + 1, state.phase_step + 1
            stage.follow(min(self.options.average, (1 + state.step) / (10 + state.step)))
            last = state.phase_step == phase.steps or self._out_of_time()
            if len(window) == LOG_EVERY or last:
                rate = phase.batch * len(window) / (time.monotonic() - mark)
                self._log(self._mean(window) | {"pairs_per_s": round(rate, 2)})
                window, mark = [], time.monotonic()
            if state.phase_step % self.options.save_every == 0 or last:
                self._save(stage)
            if last:
                break
        if state.phase_step >= phase.steps:
            state.phase, state.phase_step = state.phase + 1, 0
            self._write()

    def _hand_over(self, phase: Phase) -> None:
        """Begin a phase with the average of what came before, head and renderer ready to learn."""
        state = self.state
        own = {
            n.removeprefix(STUDENT): v for n, v in state.average.items() if n.startswith(STUDENT)
        }
        student = build(self.dims, self.dims.side).eval()
        student.load_state_dict({name: value.cpu() for name, value in own.items()})
        headless = not any(name.startswith(HEAD) for name in state.average)
        if phase.kind == "motion":
            state.before = state.before or dict(student.motion.state_dict())
            if not headless:
                return
        pairs = self.clips.draw(FRAMES // 2, self.options.seed, 0)
        frames = np.concatenate([pairs.photo, pairs.target])
        if headless:
            head = fitted_head(encode(student.motion, frames), pairs)
            fitted = {f"{HEAD}{name}": value for name, value in head.state_dict().items()}
            state.model, state.average = state.model | fitted, state.average | fitted
        if phase.kind == "motion":
            return
        before: Motion | None = None
        if state.before:
            before = Motion(self.dims).eval()
            before.load_state_dict(state.before)
        done = hand_over(student, before, frames, self.options.seed)
        self._log({"hand_over": done})
        changed = {f"{STUDENT}{name}": value for name, value in student.state_dict().items()}
        state.average = state.average | changed
        state.before, state.model = {}, state.model | state.average

    def _batch(self, phase: Phase) -> dict[str, Tensor]:
        seed, step = self.options.seed, self.state.step
        here, device = self.accelerator.process_index, self.accelerator.device
        rng = torch.Generator().manual_seed((seed << 40) + step * 4096 + here)
        return to_batch(self._pairs(phase.batch, step), rng, cast(Kind, phase.kind), device)

    def _pairs(self, count: int, step: int) -> Pairs:
        """Return a step's pairs, and have those of the next one gathered meanwhile."""
        here, all_of_us = self.accelerator.process_index, self.accelerator.num_processes

        def gather(step: int) -> Future[Pairs]:
            share = slice(here, None, all_of_us)
            return self._gatherer.submit(
                self.clips.draw, count, self.options.seed, step, share=share
            )

        wanted = self._ahead.pop((count, step), None) or gather(step)
        self._ahead = {(count, step + 1): gather(step + 1)}
        return wanted.result()

    def _mean(self, window: list[dict[str, Tensor]]) -> dict[str, float]:
        """Return the parts of the loss, averaged over steps and processes."""
        sums = torch.stack([torch.stack([parts[n].float() for n in window[0]]) for parts in window])
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums, "mean")
        means = sums.double().mean(0).tolist()
        return {name: round(value, 5) for name, value in zip(window[0], means, strict=True)}

    def _log(self, line: dict[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        minutes = round((time.monotonic() - self.began) / 60, 2)
        line = {"phase": self.state.phase, "step": self.state.step, "minutes": minutes} | line
        self.options.out.mkdir(parents=True, exist_ok=True)
        with (self.options.out / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.on_line(line)

    def _save(self, stage: Stage) -> None:
        if not self.accelerator.is_main_process:
            return
        stage.store(self.state)
        self._write()
        average = stage.averaged()
        save_student(average.student, self.options.out / WEIGHTS, facts=self._facts())
        if self.monitor:
            seen = self.monitor.listen(average.student.motion, average.head)
            if stage.phase.kind != "motion":
                seen |= self.monitor.look(average.student, self.state.step)
            self._log({"monitor": seen})

    def _facts(self) -> dict[str, str]:
        facts = {"steps": str(self.state.step), "preset": self.options.preset}
        return facts | ({"licence": self.options.licence} if self.options.licence else {})

    def _write(self) -> None:
        if self.accelerator.is_main_process:
            self.state.write(self.options.out / CHECKPOINT)
