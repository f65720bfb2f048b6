"""The native runner, compiled for tests, and what a device is given beside it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import TensorModel, VariantGraph
from pocketportrait.contract import GraphSpec, TensorSpec
from pocketportrait.runtime.targets.adb import LIBRARIES, RUNNER
from pocketportrait.runtime.targets.protocol import Job

SOURCES = Path(__file__).resolve().parent.parent / "android_demo" / "runner" / "src"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-Wshadow"]
SHAPE = (1, 3, 4, 4)


def compiler() -> str | None:
    """Return this machine's C compiler."""
    return shutil.which("cc") or shutil.which("gcc")


def compile_runner(path: Path, command: str) -> None:
    """Compile the runner with a compiler."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = sorted(map(str, SOURCES.glob("*.c")))
    subprocess.run([command, *FLAGS, "-o", str(path), *sources, "-ldl"], check=True)


def package_file(package: str, pattern: str) -> Path:
    """Return a file of an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"no {package} here")
    return next(Path(spec.origin).parent.glob(pattern))


def engine_libraries() -> dict[str, Path]:
    """Return the libraries of the engines that are installed here."""
    return {
        "onnxruntime": package_file("onnxruntime", "capi/libonnxruntime.so.*"),
        "litert": package_file("ai_edge_litert", "libLiteRt.so"),
    }


def make_home(folder: Path, name: str, command: str, libraries: Mapping[str, Path]) -> Path:
    """Lay out what an adb target takes for one platform."""
    compile_runner(folder / name / RUNNER, command)
    for engine, library in libraries.items():
        (folder / name / LIBRARIES[engine]).symlink_to(library)
    return folder


def this_platform() -> str:
    """Return the name by which an adb target knows this machine."""
    return f"{platform.system().lower()}-{platform.machine()}"


def doubling_job(folder: Path) -> Job:
    """Make two samples for an ONNX graph that doubles a picture."""
    onnx = pytest.importorskip("onnx")
    spec = GraphSpec("double", (TensorSpec("x", SHAPE),), (TensorSpec("y", SHAPE),))
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE) for name in "xy"
    )
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "double", [x], [y])
    opset = [onnx.helper.make_opsetid("", 18)]
    path = folder / "double.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    declared = VariantGraph(
        path=path.name,
        inputs=tuple(map(TensorModel.of, spec.inputs)),
        outputs=tuple(map(TensorModel.of, spec.outputs)),
    )
    random = np.random.default_rng(0)
    feeds = {name: {"x": random.random(SHAPE, np.float32)} for name in ("one", "two")}
    return Job(path, "onnx", spec, declared, feeds)
