"""Distilling a teacher: pairs are rendered once, labelled by another command, then learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pocketportrait.distill.clips import Clips, facts_of
from pocketportrait.distill.objective import Objective
from pocketportrait.distill.plan import Phase
from pocketportrait.distill.stage import Stage
from pocketportrait.distill.teacher_batches import TeacherBatches, joined, moved_targets, own_batch
from pocketportrait.distill.teacher_jobs import Job, cross_jobs, recorded_jobs
from pocketportrait.distill.teacher_judges import Judges
from pocketportrait.distill.teacher_objective import (
    TERMS,
    TeacherLossWeights,
    TeacherObjective,
)
from pocketportrait.distill.teacher_pairs import (
    PairRecord,
    PairStore,
    find_pairs,
    render_pairs,
    shard_of,
)
from pocketportrait.distill.teacher_plan import DistillOptions, distillation_plan
from pocketportrait.distill.trainer import Report, Run
from pocketportrait.errors import InputError
from pocketportrait.models.student import Student
from pocketportrait.models.teachers.protocol import SIDE_PX, Teacher
from pocketportrait.models.teachers.recorded import RecordedTeacher
from pocketportrait.models.teachers.registry import open_teacher

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

OnPair = Callable[[int, int, bool], None]  # how many are there, of how many, rendered just now


def distill(
    options: DistillOptions, on_line: Report | None = None, on_pair: OnPair | None = None
) -> Path:
    """Render what is missing and train, or go on where a stopped run stood.

    Args:
        options: the teacher, the data, and where to write.
        on_line: called with every line of the log.
        on_pair: called after every pair.

    Returns:
        The weights file: the moving average, float16; with a shard the folder of pairs.

    Raises:
        InputError: no such teacher, no data, pairs without labels, or a checkpoint of other sizes
            in `out`.

    """
    from accelerate import Accelerator

    options = dataclasses.replace(options, plan=options.plan or distillation_plan())
    _weights(options.weights)
    if options.threads:
        torch.set_num_threads(options.threads)
    accelerator = Accelerator(mixed_precision=options.precision)
    store = PairStore(options.store or options.out / "pairs")
    records = _rendered(options, accelerator, store, on_pair or (lambda *_: None))
    if options.shard:
        return store.folder
    for phase in options.plan:
        if phase.batch % accelerator.num_processes:
            raise InputError(
                f"batch {phase.batch}: want a multiple of {accelerator.num_processes}, the number"
                " of processes; change the plan"
            )
        shares = options.shares(phase.batch)
        if options.own_pairs and min(shares) < accelerator.num_processes:
            raise InputError(
                f"own_pairs {options.own_pairs:g}: want pairs of both kinds in every process, got"
                f" {shares[0]} of the teacher and {shares[1]} of clips in batches of {phase.batch};"
                " change it, or the plan"
            )
    run = DistillRun(options, accelerator, on_line or (lambda line: None), store, records)
    return run.go()


def _rendered(
    options: DistillOptions, accelerator: Accelerator, store: PairStore, on_pair: OnPair
) -> list[PairRecord]:
    """Render this process's share of the pairs; return all that are there then."""
    folder = options.teacher_weights
    if folder is None:
        raise InputError(
            f"teacher {options.teacher}: want the folder with its weights or recordings, got none;"
            " name it with --teacher-weights"
        )
    teacher = open_teacher(options.teacher, folder, device=options.device)
    with accelerator.main_process_first():
        jobs = _jobs(options, teacher)
    if options.shard:
        share = shard_of(options.shard)
    else:
        share = slice(accelerator.process_index, None, accelerator.num_processes)
    mine = jobs[share]
    render_pairs(
        store, teacher, options.teacher, mine, lambda done, new: on_pair(done, len(mine), new)
    )
    accelerator.wait_for_everyone()
    return find_pairs(store, teacher, options.teacher, jobs)


def _weights(told: Mapping[str, float]) -> TeacherLossWeights:
    """Return the weights of all terms, some of them as told."""
    if strange := sorted(set(told) - set(TERMS)):
        raise InputError(
            f"weight: want names of terms ({', '.join(TERMS)}), got {', '.join(strange)}"
        )
    return dataclasses.replace(TeacherLossWeights(), **told)


def _jobs(options: DistillOptions, teacher: Teacher) -> list[Job]:
    if isinstance(teacher, RecordedTeacher):
        return recorded_jobs(teacher.recordings)
    cache = options.cache or options.out / "cache"
    clips = Clips(options.data, options.labels or options.data / "labels", cache, SIDE_PX)
    people = facts_of(options.data, clips.names, "identity")
    return cross_jobs(clips, people, count=options.pairs, frames=options.frames, seed=options.seed)


class DistillRun(Run):
    """One call of `distill`, once its pairs are rendered."""

    options: DistillOptions

    def __init__(
        self,
        options: DistillOptions,
        accelerator: Accelerator,
        on_line: Report,
        store: PairStore,
        records: Sequence[PairRecord],
    ) -> None:
        """Read the checkpoint, if there is one, the pairs and the judges."""
        self._store, self._records = store, records
        self._weights = _weights(options.weights)
        super().__init__(options, accelerator, on_line)
        self._judges = Judges.open(options.identity, options.perceptual, accelerator.device)

    def _open_data(self) -> None:
        options = self.options
        cache = options.cache or options.out / "cache"
        self.pairs = TeacherBatches(
            self._store, self._records, cache, self.dims.side, options.store_labels
        )
        self._own = self._clips(options.data, options.labels) if options.own_pairs else None
        self.clips = self._own or self.pairs.clips  # a head is fitted on
        used = len(self.pairs.records)
        self._log({"pairs": used, "pairs_without_a_face": self.pairs.num_unusable})

    def _stage(self, phase: Phase) -> Stage:
        return Stage(
            phase, self.dims, self.state, self.accelerator, self.options.seed, self._objective
        )

    def _objective(self, student: Student, phase: Phase) -> Objective:
        return TeacherObjective(
            student,
            phase,
            transfer=self.options.moves(),
            code_size=self.pairs.code_size,
            judges=self._judges,
            frozen_norm=self.options.frozen_norm,
            pose_gradient=self.options.pose_gradient,
            weights=self._weights,
        )

    def _batch(self, phase: Phase) -> dict[str, Tensor]:
        here, all_of_us = self.accelerator.process_index, self.accelerator.num_processes
        seed, step = self.options.seed, self.state.step
        taught, own = self.options.shares(phase.batch)
        batch = self.pairs.draw(taught, seed, step, share=slice(here, None, all_of_us))
        places = list(range(here, taught, all_of_us))
        if self._own is not None:
            first = (here - taught) % all_of_us  # processes take the batch's places in turns
            pairs = self._own.draw(own, seed, step, share=slice(first, None, all_of_us))
            mine = range(taught + first, phase.batch, all_of_us)
            batch = joined(batch, own_batch(pairs, seed, step, mine))
            places += mine
        if self._weights.performed:
            batch |= moved_targets(batch, seed, step, places)
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _facts(self) -> dict[str, str]:
        made_by = {f"{one.teacher} {one.fingerprint[:16]}" for one in self._records}
        return super()._facts() | {"teacher": ", ".join(sorted(made_by))}
