"""Every value on the way through one exported file, whatever its format.

ONNX: each node's result becomes an output. TFLite: LiteRT's own kernels with every tensor kept, since a
delegate keeps none. Core ML: our evaluator, which goes operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketportrait.bundle import Bundle, VariantGraph
from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.layout import convert
from pocketportrait.validation.onnx_values import OnnxValues
from pocketportrait.validation.preflight.graph import Graph
from pocketportrait.validation.preflight.reader import read_graph


@dataclass(frozen=True)
class Trace:
    """A file's operations, and what one pass made of an input."""

    graph: Graph
    values: dict[str, Array]  # of every result and input, by the graph's names
    outputs: dict[str, str]  # name in the contract to name in the graph
    results: dict[str, Array]  # outputs as the contract has them


Tracer = Callable[[Mapping[str, Array]], Trace]
Pass = Callable[[dict[str, Array]], dict[str, Array]]  # from inputs by name to every value


def open_tracer(bundle: Bundle, format: str, precision: str, graph: str) -> Tracer:
    """Load one graph of a variant; the result runs one pass and keeps every value.

    Raises:
        InputError: the file cannot be read, or takes Core ML pictures.
        MissingToolError: the engine of the format is not installed.

    """
    declared = bundle.variant(format, precision).graphs[graph]
    spec = bundle.graph_spec(graph)
    own = {model.name: model.spec() for model in (*declared.inputs, *declared.outputs)}
    _refuse_pictures(declared)
    path = bundle.file(declared.path)
    read = read_graph(path)
    run, outputs = {"onnx": _onnx, "tflite": _tflite, "coreml": _coreml}[format](path, read)

    def trace(feed: Mapping[str, Array]) -> Trace:
        values = run({s.name: convert(feed[s.name], s, own[s.name]) for s in spec.inputs})
        results = {
            s.name: convert(values[outputs[s.name]].astype(own[s.name].dtype), own[s.name], s)
            for s in spec.outputs
        }
        return Trace(read, values, outputs, results)

    return trace


def _refuse_pictures(declared: VariantGraph) -> None:
    models = (*declared.inputs, *declared.outputs)
    if pictures := [model.name for model in models if model.kind == "image"]:
        raise InputError(
            f"{declared.path}: want tensors, got the Core ML picture {pictures[0]};"
            " export the bundle with --io tensor to bisect it"
        )


def _results_of(graph: Graph) -> list[str]:
    return [out.name for node in graph.nodes for out in node.outputs]


def _onnx(path: Path, graph: Graph) -> tuple[Pass, dict[str, str]]:
    values = OnnxValues(path).__enter__()
    return lambda feed: values.run(feed) | feed, {v.name: v.name for v in graph.outputs}


def _tflite(path: Path, graph: Graph) -> tuple[Pass, dict[str, str]]:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingToolError.for_extra("ai-edge-litert", "litert") from error
    interpreter = Interpreter(
        model_path=str(path),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    wanted = [*(value.name for value in graph.inputs), *_results_of(graph)]

    def run(feed: dict[str, Array]) -> dict[str, Array]:
        runner(**{name: np.ascontiguousarray(value) for name, value in feed.items()})
        return {name: np.array(interpreter.get_tensor(_index(name))) for name in wanted}

    names = {_index(value.name): value.name for value in graph.outputs}
    return run, {n: names[d["index"]] for n, d in runner.get_output_details().items()}


def _index(name: str) -> int:
    """Return a tensor's number, which the reader made a part of its name."""
    return int(name.rpartition(".")[2])


def _coreml(path: Path, graph: Graph) -> tuple[Pass, dict[str, str]]:
    # imports torch: nobody but who bisects a package shall need it
    try:
        from pocketportrait.runtime.mil.values import open_values
    except ImportError as error:
        raise MissingToolError.for_extra("torch", "export") from error
    values = open_values(path, set(_results_of(graph)))
    return lambda feed: values(feed) | feed, {v.name: v.name for v in graph.outputs}
