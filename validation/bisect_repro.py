"""One operation by itself: its inputs, what it gave, what it should have given, in a small folder.

python -m pocketportrait.validation.bisect_repro FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from pocketportrait import atomic
from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.validation.bisect_search import (
    BisectReport,
    Divergence,
    Evidence,
    aligned_parity,
)
from pocketportrait.validation.bisect_trace import Trace
from pocketportrait.validation.preflight.graph import Node

INPUTS, GOT, EXPECTED, OPERATION = (
    "inputs.safetensors",
    "got.safetensors",
    "expected.safetensors",
    "op.onnx",
)
REFERENCE_INPUTS = "reference_inputs.safetensors"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a repro shows when it is run again."""

    got_psnr_db: (
        float | None
    )  # of the variant's result against the expected one; None: shapes differ
    op_psnr_db: float | None  # of `op.onnx` run again, against what its side of the folder says


def write_repro(bundle: Bundle, report: BisectReport, evidence: Evidence, folder: Path) -> Path:
    """Write a divergence as a folder of its own.

    Args:
        bundle: that was bisected.
        report: of the bisection.
        evidence: one of its divergences.
        folder: where the graph's folder is made.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written to.

    """
    place = folder / evidence.divergence.graph
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: want a folder to write to, got {error.strerror}") from error
    ours = _inputs(evidence.found, evidence.variant)
    theirs = _inputs(evidence.expected, evidence.reference)
    save_file(ours, place / INPUTS)
    save_file(theirs, place / REFERENCE_INPUTS)
    save_file(_results(evidence.found, evidence.variant), place / GOT)
    save_file(_results(evidence.expected, evidence.reference), place / EXPECTED)
    for variant, node, values in (
        (report.reference, evidence.expected, theirs),
        (report.variant, evidence.found, ours),
    ):
        format, _, precision = variant.partition("/")
        if format == "onnx":
            graphs = bundle.variant(format, precision).graphs
            file = bundle.file(graphs[evidence.divergence.graph].path)
            atomic.write_bytes(place / OPERATION, _one_node(file, node, values))
            break
    atomic.write_bytes(place / "README.md", _words(report, evidence.divergence).encode())
    return place


def replay(folder: Path) -> Replay:
    """Compare the results in a folder, and run `op.onnx` again on its inputs.

    Raises:
        InputError: no repro there.

    """
    if not (folder / GOT).is_file():
        raise InputError(f"{folder}: want a folder that bisect wrote, got none")
    got, want = (next(iter(load_file(folder / name).values())) for name in (GOT, EXPECTED))
    parity = aligned_parity(got, want)
    again = None
    if (folder / OPERATION).is_file():
        again = _run_again(folder)
    return Replay(parity.psnr_db if parity else None, again)


def _run_again(folder: Path) -> float | None:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / OPERATION), providers=["CPUExecutionProvider"]
    )
    wanted = {given.name for given in session.get_inputs()}
    for inputs, results in ((REFERENCE_INPUTS, EXPECTED), (INPUTS, GOT)):
        held = load_file(folder / inputs)
        if wanted <= held.keys():
            (value, *_) = session.run(None, {name: held[name] for name in wanted})
            parity = aligned_parity(value, next(iter(load_file(folder / results).values())))
            return parity.psnr_db if parity else None
    return None


def _inputs(node: Node, trace: Trace) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for value in node.inputs:
        numbers = value.numbers if value.fixed else trace.values.get(value.name)
        if numbers is not None and np.asarray(numbers).dtype.kind in "biuf":  # not Core ML's words
            found[value.name] = np.ascontiguousarray(numbers)
    return found


def _results(node: Node, trace: Trace) -> dict[str, Array]:
    return {v.name: np.ascontiguousarray(trace.values[v.name]) for v in node.outputs}


def _one_node(file: Path, node: Node, values: Mapping[str, Array]) -> bytes:
    """Return an ONNX model of one node; what is stored in the file is stored here too."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(file)
    (proto,) = (n for n in model.graph.node if (n.name or n.output[0]) == node.name)
    stored = {value.name for value in node.inputs if value.fixed}

    def info(name: str, value: Array) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, kind, value.shape)

    graph = helper.make_graph(
        [proto],
        "op",
        [info(name, value) for name, value in values.items() if name not in stored],
        [onnx.ValueInfoProto(name=value.name) for value in node.outputs],
        [numpy_helper.from_array(values[n], n) for n in values if n in stored],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import)
    alone.ir_version = model.ir_version
    data: bytes = alone.SerializeToString(deterministic=True)
    return data


def _words(report: BisectReport, divergence: Divergence) -> str:
    found, expected = divergence.found, divergence.expected
    apart = "by shape" if divergence.psnr_db is None else f"{divergence.psnr_db:.1f} dB"
    return f"""# {divergence.graph} of {report.bundle}: {found.operator}

The first operation of {report.variant} that leaves the noise band of {report.reference},
on {divergence.sample}.

| | operation | name |
|---|---|---|
| {found.variant} | {found.operator} | `{found.node}` |
| {expected.variant} | {expected.operator} | `{expected.node}` |
| torch | | `{divergence.module}` |

`{INPUTS}` and `{GOT}` are of {found.variant}; `{REFERENCE_INPUTS}` and `{EXPECTED}` of
{expected.variant}; results are {apart} apart.
`{OPERATION}` is the ONNX node by itself.

    python -m pocketportrait.validation.bisect_repro .
"""


if __name__ == "__main__":
    result = replay(Path(sys.argv[1]))
    sys.stdout.write(f"result against expected: {result.got_psnr_db} dB\n")
    sys.stdout.write(f"op.onnx run again: {result.op_psnr_db} dB\n")
