"""Core ML's compute plan: which unit it means to run each operation of a package on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pocketportrait.errors import InputError

# of coremltools.models.compute_device
UNITS = {
    "MLCPUComputeDevice": "CPU",
    "MLGPUComputeDevice": "GPU",
    "MLNeuralEngineComputeDevice": "Neural Engine",
}


def operators_by_unit(plan: Any) -> dict[str, int]:
    """Count the operations of a plan by the unit that Core ML prefers, most first.

    Args:
        plan: a `coremltools.models.compute_plan.MLComputePlan` of an ML program; constants have no
            unit and are left out.

    Raises:
        InputError: the plan is of something else than an ML program.

    """
    program = plan.model_structure.program
    if program is None:
        raise InputError("compute plan: want that of an ML program, got another kind of model")
    found: Counter[str] = Counter()
    for function in program.functions.values():
        for operation in _operations(function.block):
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            if usage is not None:
                kind = type(usage.preferred_compute_device).__name__
                found[UNITS.get(kind, kind)] += 1
    return dict(found.most_common())


def plan_line(operators: dict[str, int]) -> str:
    """Return a count of operations in one line, such as `Neural Engine 120, CPU 3`."""
    return ", ".join(f"{unit} {count}" for unit, count in operators.items())


def _operations(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)
