"""One phase at work: the objective, its optimiser, the moving average and, if asked for, a critic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pocketportrait.distill.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from pocketportrait.distill.critic import Critic, critic_loss, deceive_loss
from pocketportrait.distill.objective import Kind, Objective, at_side
from pocketportrait.distill.plan import Phase, learning_rate
from pocketportrait.errors import InputError
from pocketportrait.models.dims import StudentDims
from pocketportrait.models.student import Render, Student

if TYPE_CHECKING:
    from accelerate import Accelerator

Make = Callable[[Student, Phase], Objective]  # builds what a phase learns by

# names of their tensors in a checkpoint begin so
STUDENT, HEAD, CRITIC = "student.", "head.", "critic."


class Stage:
    """Everything that learns in one phase; made from a checkpoint and put back into it."""

    def __init__(
        self,
        phase: Phase,
        dims: StudentDims,
        state: Checkpoint,
        accelerator: Accelerator,
        seed: int,
        make: Make | None = None,
    ) -> None:
        """Build the networks, fill them from `state`, and hand them to `accelerator`.

        Args:
            phase: what learns, at what size and rate.
            dims: sizes of the student.
            state: where the networks stood.
            accelerator: the device, the precision and the other processes.
            seed: of weights that `state` does not have.
            make: builds the objective; the one that learns from labelled clips by default.

        """
        self.phase, self.dims, self.accelerator = phase, dims, accelerator
        self.make = make or clip_objective
        torch.manual_seed(seed)
        self.objective = self.make(build(dims, phase.side), phase)
        self.critic = Critic() if phase.critic else None
        self._fill(state)
        self.objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective.to(accelerator.device)
        optimiser = _adam(self.objective, phase.rate)
        restore_optimiser(optimiser, _learning(self.objective), state.optimiser)
        self.average = {
            n: state.average.get(n, v).clone() for n, v in self.objective.state_dict().items()
        }
        self.wrapped, self.optimiser = accelerator.prepare(self.objective, optimiser)
        self.wrapped.train()
        if self.critic:
            critic_optimiser = _adam(self.critic, phase.rate)
            named = {f"{CRITIC}{n}": p for n, p in self.critic.named_parameters()}
            restore_optimiser(critic_optimiser, named, state.optimiser)
            self.wrapped_critic, self.critic_optimiser = accelerator.prepare(
                self.critic, critic_optimiser
            )

    def _fill(self, state: Checkpoint) -> None:
        own = {n: v for n, v in state.model.items() if not n.startswith(CRITIC)}
        if own:
            unknown = self.objective.load_state_dict(own, strict=False).unexpected_keys
            assert not unknown, unknown  # the dims of the checkpoint were compared before
        critic = {n.removeprefix(CRITIC): v for n, v in state.model.items() if n.startswith(CRITIC)}
        if self.critic and critic:
            self.critic.load_state_dict(critic)

    def step(self, batch: dict[str, Tensor], number: int) -> dict[str, Tensor]:
        """Learn from one batch; `number` is the step of this phase. Returns the parts of the loss.

        Raises:
            InputError: the loss is not finite.

        """
        rate = learning_rate(self.phase, number)
        loss, parts, image = self.wrapped(batch, self.phase.side)
        if self.critic and image is not None:
            real = at_side(batch["target"], self.phase.side)
            parts["deceive"] = deceive_loss(self.wrapped_critic, real, image)
            loss = loss + self.phase.critic * parts["deceive"]
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {float(loss)}; lower the learning rate or check the data"
            )
        self._learn(loss, self.wrapped, self.optimiser, rate)
        if self.critic and image is not None:
            parts["critic"] = critic_loss(self.wrapped_critic, real, image)
            self._learn(parts["critic"], self.wrapped_critic, self.critic_optimiser, rate)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in parts.items()}}

    def _learn(self, loss: Tensor, network: Any, optimiser: Any, rate: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()

    def follow(self, decay: float) -> None:
        """Move the average towards the weights as they are now."""
        for name, value in self.objective.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def store(self, state: Checkpoint) -> None:
        """Put networks, average and optimisers into `state`."""
        state.model = {n: v.detach().clone() for n, v in self.objective.state_dict().items()}
        state.average = self.average
        names: dict[Tensor, str] = {p: n for n, p in self.objective.named_parameters()}
        state.optimiser = optimiser_tensors(_bare(self.optimiser), names)
        if self.critic:
            state.model |= {f"{CRITIC}{n}": v.clone() for n, v in self.critic.state_dict().items()}
            names = {p: f"{CRITIC}{n}" for n, p in self.critic.named_parameters()}
            state.optimiser |= optimiser_tensors(_bare(self.critic_optimiser), names)

    def averaged(self) -> Objective:
        """Return the moving average: a full-size student with its head, in eval mode."""
        objective = self.make(build(self.dims, self.dims.side), self.phase)
        objective.load_state_dict({name: value.cpu() for name, value in self.average.items()})
        return objective.eval()


def clip_objective(student: Student, phase: Phase) -> Objective:
    """Return the objective of labelled clips."""
    return Objective(student, cast(Kind, phase.kind))  # `read_plan` lets no other kind through


def build(dims: StudentDims, side: int) -> Student:
    """Return a student whose renderer works at `side`; its motion encoder keeps the full side."""
    student = Student(dims)
    if side != dims.side:
        student.render = Render(dataclasses.replace(dims, side=side))
    return student


def _adam(network: torch.nn.Module, rate: float) -> torch.optim.AdamW:
    learning = _learning(network).values()
    return torch.optim.AdamW(learning, rate, betas=(0.9, 0.99), weight_decay=1e-3)


def _learning(network: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def _bare(optimiser: Any) -> torch.optim.Optimizer:
    """Return the optimiser that accelerate wrapped."""
    bare = getattr(optimiser, "optimizer", optimiser)
    assert isinstance(bare, torch.optim.Optimizer)
    return bare
