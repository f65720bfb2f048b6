"""A stopped training on disk, as safetensors: weights, moving average, optimiser and place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pocketportrait import atomic
from pocketportrait.errors import InputError
from pocketportrait.models.weights import safetensors_bytes

FORMAT = "pocketportrait-training-1"


@dataclass(slots=True)
class Checkpoint:
    """Everything that a resumed run needs; data order follows from `step` alone."""

    dims: str
    phase: int = 0  # which phase of the plan
    step: int = 0  # steps done, over all phases
    phase_step: int = 0  # steps done in this phase
    model: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Tensor] = field(default_factory=dict)  # "<parameter>:<state>"
    before: dict[str, Tensor] = field(default_factory=dict)  # the encoder that the renderer knows

    def write(self, path: Path) -> None:
        """Write or replace the file, whole or not at all."""
        tensors = {
            f"{group}/{name}": value.detach().cpu().contiguous()
            for group in ("model", "average", "optimiser", "before")
            for name, value in getattr(self, group).items()
        }
        place = json.dumps({"phase": self.phase, "step": self.step, "phase_step": self.phase_step})
        facts = {"format": FORMAT, "dims": self.dims, "place": place}
        atomic.write_bytes(path, safetensors_bytes(tensors, facts))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what `write` wrote.

        Raises:
            InputError: not a training checkpoint of this version.

        """
        try:
            with safe_open(str(path), "pt") as file:
                facts = dict(file.metadata() or {})
                if facts.get("format") != FORMAT:
                    raise InputError(
                        f"{path}: want {FORMAT}, got {facts.get('format', 'no format')!r}"
                    )
                found = cls(dims=facts["dims"], **json.loads(facts["place"]))
                for key in file.keys():  # noqa: SIM118
                    group, name = key.split("/", 1)
                    getattr(found, group)[name] = file.get_tensor(key)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{path}: want a training checkpoint, got a broken file ({error})"
            ) from error
        return found


def optimiser_tensors(
    optimiser: torch.optim.Optimizer, names: Mapping[Tensor, str]
) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors."""
    return {
        f"{names[parameter]}:{key}": torch.as_tensor(value)
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor], stored: dict[str, Tensor]
) -> None:
    """Give an optimiser back the state that `optimiser_tensors` returned."""
    for key, value in stored.items():
        name, state = key.rsplit(":", 1)
        if name in parameters:
            kept = value.clone() if state == "step" else value.to(parameters[name].device).clone()
            optimiser.state[parameters[name]][state] = kept
