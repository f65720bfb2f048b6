"""What every converter starts from: a module in eval mode and inputs that fit its contract."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pocketportrait.bundle import STANDARD_PRECISIONS
from pocketportrait.contract import GraphSpec, TensorSpec
from pocketportrait.errors import InputError


def check_module(module: nn.Module, precision: str) -> None:
    """Refuse what would export wrong in silence.

    Raises:
        InputError: the module is in training mode, or the precision is unknown.

    """
    if any(part.training for part in module.modules()):
        raise InputError(
            "module: want eval mode, got training mode; call model.eval() before exporting"
        )
    if precision not in STANDARD_PRECISIONS:
        known = ", ".join(STANDARD_PRECISIONS)
        raise InputError(f"precision: want one of {known}, got {precision!r}")


def example_inputs(spec: GraphSpec, *, channels_last: bool = False) -> tuple[Tensor, ...]:
    """Return one tensor per input, in order; every call gives the same numbers.

    Each is an object of its own: exporters merge inputs that are one tensor, and the file then
    ignores the second name.
    """
    generator = torch.Generator().manual_seed(0)

    def example(tensor: TensorSpec) -> Tensor:
        shape = tensor.nhwc().shape if channels_last else tensor.shape
        return torch.rand(shape, generator=generator)

    return tuple(example(t) for t in spec.inputs)
