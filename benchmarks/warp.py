"""How fast the row-then-column warp is against `grid_sample`, in the engines that run on phones.

    .venv/bin/python benchmarks/warp.py [--json PATH]

Both forms warp the same map by the same displacements. Calls of the two alternate, so that a busy machine
slows both; the ratio of the medians is the figure to quote, milliseconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait import atomic
from pocketportrait.models.warp import RowColumnWarp
from pocketportrait.validation.machine import describe_machine

SIZES = ((64, 32), (64, 64), (128, 8))  # side in pixels, channels
WARMUP, REPEATS = 5, 40
Call = Callable[[], Any]


class GridSampleWarp(nn.Module):
    """The usual form: one `grid_sample` with absolute positions."""

    place: Tensor

    def __init__(self, side: int) -> None:
        """Make the constant grid of a `side` x `side` map."""
        super().__init__()
        step = (2 * torch.arange(side, dtype=torch.float32) + 1) / side - 1
        y, x = torch.meshgrid(step, step, indexing="ij")
        self.register_buffer("place", torch.stack([x, y], -1)[None])
        self.scale = 2 / side

    def forward(self, f_BCHW: Tensor, fields_B2HW: Tensor) -> Tensor:
        """Warp `f_BCHW` by (dx, dy) in pixels of this map."""
        grid = self.place + fields_B2HW.permute(0, 2, 3, 1) * self.scale
        return F.grid_sample(f_BCHW, grid, align_corners=False, padding_mode="border")


def onnxruntime_call(module: nn.Module, inputs: tuple[Tensor, Tensor], folder: Path) -> Call:
    """Return a call of the module's ONNX file, on one thread."""
    import onnxruntime

    path = folder / f"{type(module).__name__}.onnx"
    torch.onnx.export(
        module,
        inputs,
        path,
        input_names=["f", "fields"],
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"f": inputs[0].numpy(), "fields": inputs[1].numpy()}
    return lambda: session.run(None, feed)[0]


def litert_call(module: nn.Module, inputs: tuple[Tensor, Tensor], folder: Path) -> Call:
    """Return a call of the module's TFLite file, on one thread with XNNPACK."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    path = folder / f"{type(module).__name__}.tflite"
    litert_torch.convert(module, inputs).export(str(path))
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    feed = {f"args_{i}": tensor.numpy() for i, tensor in enumerate(inputs)}

    def call() -> Any:
        return next(iter(runner(**feed).values()))

    # the interpreter must outlive its runner
    call.interpreter = interpreter  # type: ignore[attr-defined]
    return call


def medians_ms(calls: list[Call]) -> list[float]:
    """Return the median of each call's time; the calls take turns."""
    durations: list[list[float]] = [[] for _ in calls]
    for _ in range(WARMUP + REPEATS):
        for call, kept in zip(calls, durations, strict=True):
            start = time.perf_counter()
            call()
            kept.append((time.perf_counter() - start) * 1e3)
    return [float(np.median(kept[WARMUP:])) for kept in durations]


def compare(side: int, channels: int, folder: Path) -> list[dict[str, Any]]:
    """Return one row an engine for maps of one size."""
    torch.manual_seed(0)
    inputs = (torch.randn(1, channels, side, side), 3 * torch.randn(1, 2, side, side))
    ours, usual = RowColumnWarp(side).eval(), GridSampleWarp(side).eval()
    want = ours(*inputs).numpy()
    rows = []
    for engine, make in (("onnxruntime", onnxruntime_call), ("litert", litert_call)):
        calls = [make(module, inputs, folder) for module in (usual, ours)]
        error = float(np.abs(calls[1]() - want).max())
        usual_ms, ours_ms = medians_ms(calls)
        rows.append(
            {
                "engine": engine,
                "side_px": side,
                "channels": channels,
                "grid_sample_ms": round(usual_ms, 3),
                "row_column_ms": round(ours_ms, 3),
                "ratio": round(usual_ms / ours_ms, 2),
                "max_abs_to_torch": error,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for side, channels in SIZES for row in compare(side, channels, Path(folder))]
    machine = describe_machine()
    print(machine.line())
    for row in rows:
        print(
            f"{row['engine']:12} {row['side_px']:4} px {row['channels']:3} ch"
            f"  grid_sample {row['grid_sample_ms']:8.2f} ms  row/column {row['row_column_ms']:6.2f} ms"
            f"  ratio {row['ratio']:6.2f}  max abs {row['max_abs_to_torch']:.1e}"
        )
    if options.json:
        report = {"schema_version": 1, "machine": machine.model_dump(), "rows": rows}
        atomic.write_bytes(options.json, json.dumps(report, indent=2).encode())


if __name__ == "__main__":
    main()
