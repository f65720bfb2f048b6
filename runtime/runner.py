"""Runners: one life cycle and one call for every engine that executes an exported file.

Entering loads, leaving frees, `infer` returns copies. `open_runner` gives the contract's layout
whatever the file has; the manifest says what that is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pocketportrait.bundle import FORMATS, Bundle
from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime import coreml_runner, litert_runner
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.onnx_runner import OnnxRunner


class Runner(Protocol):
    """Something that executes one exported graph."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes; known once it was entered."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives; known once it was entered."""

    def __enter__(self) -> Self:
        """Load the file."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the file."""

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one pass; returns copies."""


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """One runner of a format, and why it cannot be used here (None where it can)."""

    name: str
    reason: str | None

    @property
    def available(self) -> bool:
        """Say whether the runner can be used."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class _Kind:
    format: str
    make: Callable[[Path, int | None], Runner]
    why_not: Callable[[], str | None]
    emulated: bool = False


def _oracle(path: Path, threads: int | None) -> Runner:
    # imports torch: nobody but who asks for the oracle shall need it
    from pocketportrait.runtime.coreml_oracle import CoremlOracle

    return CoremlOracle(path, threads=threads)


def _why_no_onnxruntime() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; run: pip install onnxruntime"
    return None


def _why_no_oracle() -> str | None:
    for package in ("torch", "coremltools"):
        if importlib.util.find_spec(package) is None:
            return str(MissingToolError.for_extra(package, "export"))
    return None


# the first of a format that can be used is its default
KINDS: dict[str, _Kind] = {
    "onnxruntime": _Kind(
        "onnx", lambda path, threads: OnnxRunner(path, threads=threads), _why_no_onnxruntime
    ),
    "litert": _Kind(
        "tflite",
        lambda path, threads: litert_runner.LitertRunner(path, threads=threads),
        lambda: litert_runner.why_not("ai_edge_litert"),
    ),
    "tflite-runtime": _Kind(
        "tflite",
        lambda path, threads: litert_runner.LitertRunner(
            path, threads=threads, package="tflite_runtime"
        ),
        lambda: litert_runner.why_not("tflite_runtime"),
    ),
    "coreml": _Kind(
        "coreml",
        lambda path, threads: coreml_runner.CoremlRunner(path, threads=threads),
        coreml_runner.why_not,
    ),
    "oracle": _Kind("coreml", _oracle, _why_no_oracle, emulated=True),
}


def available_runners(format: str) -> list[RunnerStatus]:
    """Return the runners of a format, best first, each with the reason why it cannot be used.

    Raises:
        InputError: there is no such format.

    """
    if format not in FORMATS:
        raise InputError(f"format: want one of {', '.join(FORMATS)}, got {format!r}")
    return [
        RunnerStatus(name, kind.why_not()) for name, kind in KINDS.items() if kind.format == format
    ]


def choose_runner(format: str, runner: str | None = None) -> str:
    """Return the name of the runner to use: the given one, or the best of the format.

    Raises:
        InputError: no such format, no such runner, or one of another format.
        MissingToolError: the runner, or every runner of the format, cannot be used here.

    """
    statuses = {status.name: status for status in available_runners(format)}
    if runner is None:
        runner = next((s.name for s in statuses.values() if s.available), next(iter(statuses)))
    if runner not in statuses:
        raise InputError(f"runner: want one of {', '.join(statuses)} for {format}, got {runner!r}")
    if (reason := statuses[runner].reason) is not None:
        raise MissingToolError(reason)
    return runner


def is_emulated(runner: str) -> bool:
    """Say whether a runner's times mean nothing, because it stands in for another engine."""
    return KINDS[runner].emulated


def open_file(
    path: Path, format: str, *, runner: str | None = None, threads: int | None = None
) -> Runner:
    """Return a runner of a bare file, which takes and gives the file's own layout; enter it to load.

    Args:
        path: the file, or the `.mlpackage` folder.
        format: one of the bundle's formats.
        runner: a runner's name; None takes the best that can be used here.
        threads: None lets the engine choose.

    Raises:
        InputError: no such format, no such runner, or one of another format.
        MissingToolError: the runner, or every runner of the format, cannot be used here.

    """
    if threads is not None and threads < 1:
        raise InputError(f"threads: want 1 or more, got {threads}")
    return KINDS[choose_runner(format, runner)].make(path, threads)


def open_runner(
    bundle: Bundle,
    format: str,
    precision: str,
    graph: str,
    *,
    runner: str | None = None,
    threads: int | None = None,
) -> ContractRunner:
    """Return a runner of one graph of a bundle, in the contract's layout; enter it to load.

    Args:
        bundle: where the file is.
        format: one of the bundle's formats.
        precision: the variant's name.
        graph: the graph's name.
        runner: a runner's name; None takes the best that can be used here.
        threads: None lets the engine choose.

    Raises:
        InputError: the bundle does not hold this, or there is no such runner for the format.
        MissingToolError: the runner, or every runner of the format, cannot be used here.

    """
    spec = bundle.graph_spec(graph)
    variant = bundle.variant(format, precision)
    if graph not in variant.graphs:
        raise InputError(
            f"{format}/{precision}: want the graph {graph!r}, got {', '.join(variant.graphs)}"
        )
    declared = variant.graphs[graph]
    inner = open_file(bundle.file(declared.path), format, runner=runner, threads=threads)
    return ContractRunner(inner, spec, declared)
