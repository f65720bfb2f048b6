"""Which part of an engine really ran each operator of a file: asked of the engine, never guessed."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.errors import InputError
from pocketportrait.runtime.coreml_runner import CoremlRunner
from pocketportrait.validation.bench_record import Residency

ERRORS_ONLY = 3  # onnxruntime's severity
DELEGATE = "DELEGATE"


def residency_of(path: Path, runner: str) -> tuple[tuple[Residency, ...], str]:
    """Return who ran a file's operators in one pass, and why that is not known where it is not.

    Of Core ML it is the plan that Core ML made for this machine.

    Args:
        path: the file, which the runner can load.
        runner: the runner's name.

    """
    if runner == "onnxruntime":
        return _counted(_providers(path)), ""
    if runner in ("litert", "tflite-runtime"):
        package = "ai_edge_litert" if runner == "litert" else "tflite_runtime"
        return _counted(_partitions(path, package)), ""
    if runner == "coreml":
        try:
            with CoremlRunner(path) as loaded:
                planned = loaded.operators_by_unit()
        except InputError as error:
            return (), f"not told: {error}"  # an older macOS; times stand without it
        return tuple(Residency(unit=unit, operators=n) for unit, n in planned.items()), ""
    return (), f"{runner} does not tell which part of it ran an operator"


def _counted(units: Sequence[str]) -> tuple[Residency, ...]:
    return tuple(Residency(unit=u, operators=n) for u, n in Counter(units).most_common())


def _providers(path: Path) -> list[str]:
    """Return the execution provider of every node that one profiled pass ran."""
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="pocketportrait-") as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "pass")
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        types = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        feed = {
            node.name: np.zeros(node.shape, types.get(node.type, np.uint8))
            for node in session.get_inputs()
        }
        session.run(None, feed)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    return [
        event["args"]["provider"].removesuffix("ExecutionProvider")
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    ]


def _partitions(path: Path, package: str) -> list[str]:
    """Return, for every operator of a TFLite file, the delegate's partition or the kernels."""
    import importlib

    module = importlib.import_module(f"{package}.interpreter")
    interpreter = module.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    operators: list[dict[str, Any]] = interpreter._get_ops_details()
    return operators_by_unit(operators)


def operators_by_unit(operators: Sequence[dict[str, Any]]) -> list[str]:
    """Return the unit of every operator that a file had before delegates replaced some.

    A delegate stands in the list as an operator of its own; those between its inputs and outputs are
    what it replaced.

    Args:
        operators: `op_name`, `inputs` and `outputs` (numbers of tensors) of each.

    """
    own = [op for op in operators if op["op_name"] != DELEGATE]
    producer = {int(tensor): i for i, op in enumerate(own) for tensor in op["outputs"]}
    units = ["kernels"] * len(own)
    delegates = [op for op in operators if op["op_name"] == DELEGATE]
    for number, delegate in enumerate(delegates, 1):
        name = "XNNPACK" if len(delegates) == 1 else f"XNNPACK partition {number}"
        border = {int(tensor) for tensor in delegate["inputs"]}
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            index = producer.get(waiting.pop())
            if index is None or units[index] == name:
                continue
            units[index] = name
            inputs = (int(tensor) for tensor in own[index]["inputs"])
            waiting += [tensor for tensor in inputs if tensor not in border]
    return units
