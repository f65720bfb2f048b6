"""A saved ML program, executed with torch on any system.

It proves what the *file* says: weights, layouts, paddings, modes, scales, palettes, names, and the
range and rounding of float16. It cannot show the order of sums of Apple's own kernels, what runs on
the Neural Engine, or latency.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pocketportrait.errors import InputError
from pocketportrait.runtime.coreml_package import import_coremltools, open_package
from pocketportrait.runtime.mil import (
    compression,
    convolution,
    elementwise,
    reductions,
    sampling,
    shapes,
)
from pocketportrait.runtime.mil.call import TORCH_TYPES, Call, Declared, Kernel

KERNELS: dict[str, Kernel] = {
    **convolution.KERNELS,
    **elementwise.KERNELS,
    **reductions.KERNELS,
    **shapes.KERNELS,
    **sampling.KERNELS,
    **compression.KERNELS,
}


@dataclass(frozen=True, slots=True)
class _Reference:
    """An argument that another operation or an input gives."""

    name: str


@dataclass(frozen=True, slots=True)
class _Step:
    kind: str
    name: str
    arguments: dict[str, Any]  # values, `_Reference`s, or lists of both
    results: tuple[Declared, ...]
    frees: tuple[str, ...]  # values that no later step reads


class MilProgram:
    """The `main` function of a package; `run` may be called any number of times."""

    def __init__(self, path: Path) -> None:
        """Load a package.

        Raises:
            InputError: the package is broken, has dynamic shapes, or holds operations without a kernel.
            MissingToolError: coremltools is not installed.

        """
        self.path = path
        model = open_package(path)
        self.spec: Any = model.get_spec()
        self.operations = _operation_kinds(self.spec, path)
        if unknown := sorted(set(self.operations) - KERNELS.keys()):
            raise InputError(
                f"{path.name}: the oracle has no kernel for the MIL operations {', '.join(unknown)};"
                " check this file on macOS with the coreml runner"
            )
        function = _load_main(self.spec, model.weights_dir, path)
        self.inputs = {name: _declared(variable) for name, variable in function.inputs.items()}
        self.outputs = tuple(variable.name for variable in function.outputs)
        self._constants: dict[str, Tensor] = {}
        self._steps = self._compile(function)

    @torch.inference_mode()
    def run(self, feed: Mapping[str, Tensor], keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Execute the program.

        Args:
            feed: a value for every input.
            keep: names of values on the way that are wanted beside the outputs.

        Returns:
            outputs and kept values, each in the type that the file declares.

        """
        values = dict(self._constants)
        for name, declared in self.inputs.items():
            values[declared.name] = declared.store(feed[name])
        kept: dict[str, Tensor] = {}
        for step in self._steps:
            results = _execute(step, values)
            values.update(results)
            kept.update((name, value) for name, value in results.items() if name in keep)
            for name in step.frees:
                del values[name]
        return kept | {name: values[name] for name in self.outputs}

    def _compile(self, function: Any) -> tuple[_Step, ...]:
        """Turn operations into steps; constant ones are computed here, once."""
        steps: list[_Step] = []
        known: dict[str, Any] = {}
        for operation in function.operations:
            if operation.op_type == "const":
                continue
            step = _step(operation, known)
            if step.kind.startswith("constexpr_"):
                with torch.inference_mode():
                    known.update(_execute(step, {}))
            else:
                steps.append(step)
        self._constants = {name: known[name] for name in self.outputs if name in known}
        return _with_frees(steps, {*self.outputs})


def _operation_kinds(spec: Any, path: Path) -> tuple[str, ...]:
    """Return the kinds of all operations but `const`, read from the file itself."""
    main = spec.mlProgram.functions.get("main")
    if main is None or main.opset not in main.block_specializations:
        raise InputError(f"{path.name}: want an ML program with a `main` function")
    block = main.block_specializations[main.opset]
    return tuple(operation.type for operation in block.operations if operation.type != "const")


def _load_main(spec: Any, weights_dir: str | None, path: Path) -> Any:
    import_coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load  # not under a public name

    try:
        version = spec.specificationVersion
        program = load(spec, specification_version=version, file_weights_dir=weights_dir or "")
    except Exception as error:  # AssertionError, KeyError, RuntimeError of the blob reader, ..
        raise InputError(
            f"{path.name}: the ML program cannot be read: {type(error).__name__} {error}"
        ) from error
    return program.functions["main"]


def _declared(variable: Any) -> Declared:
    from coremltools.converters.mil.mil import types

    dtype = types.builtin_to_string(variable.dtype)
    if dtype not in TORCH_TYPES:
        raise InputError(
            f"{variable.name}: values of MIL type {dtype} are not covered by the oracle"
        )
    try:
        shape = tuple(int(size) for size in variable.shape)
    except TypeError as error:
        raise InputError(f"{variable.name}: want a fixed shape, got {variable.shape}") from error
    return Declared(variable.name, dtype, shape)


def _step(operation: Any, known: Mapping[str, Tensor]) -> _Step:
    defaults = operation.default_inputs()
    arguments: dict[str, Any] = {
        name: value for name, value in defaults.items() if value is not None
    }
    for name, given in operation.inputs.items():
        if isinstance(given, list | tuple):
            arguments[name] = [_argument(variable, known) for variable in given]
        elif given is not None:
            arguments[name] = _argument(given, known)
    results = tuple(_declared(variable) for variable in operation.outputs)
    return _Step(operation.op_type, operation.name, arguments, results, ())


def _argument(variable: Any, known: Mapping[str, Tensor]) -> Any:
    """Return a constant's value (numbers as a tensor, made once), or a reference to what is computed."""
    if variable.name in known:
        return known[variable.name]
    if variable.op is None or variable.op.op_type != "const":
        return _Reference(variable.name)
    value = variable.val
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.from_numpy(value.astype(np.float32))  # exact, and once instead of in every run
    return value


def _with_frees(steps: list[_Step], outputs: set[str]) -> tuple[_Step, ...]:
    """Note at every step which values nobody reads after it, so that a run holds few of them."""
    read_later = set(outputs)
    finished: list[_Step] = []
    for step in reversed(steps):
        names = {item.name for item in _flatten(step.arguments) if isinstance(item, _Reference)}
        names |= {declared.name for declared in step.results}
        frees = tuple(sorted(names - read_later))
        read_later |= names
        finished.append(_Step(step.kind, step.name, step.arguments, step.results, frees))
    return tuple(reversed(finished))


def _flatten(arguments: Mapping[str, Any]) -> list[Any]:
    return [
        item
        for value in arguments.values()
        for item in (value if isinstance(value, list) else [value])
    ]


def _execute(step: _Step, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    def resolve(argument: Any) -> Any:
        if isinstance(argument, list):
            return [resolve(item) for item in argument]
        return values[argument.name] if isinstance(argument, _Reference) else argument

    arguments = {name: resolve(argument) for name, argument in step.arguments.items()}
    computed = KERNELS[step.kind](Call(step.kind, step.name, arguments, step.results))
    results = [computed] if isinstance(computed, Tensor) else list(computed)
    stored: dict[str, Tensor] = {}
    for declared, value in zip(step.results, results, strict=True):
        assert tuple(value.shape) == declared.shape, (
            step.kind,
            step.name,
            value.shape,
            declared.shape,
        )
        stored[declared.name] = declared.store(value)
    return stored
