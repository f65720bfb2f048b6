"""What runs on a device: reads a job's folder, runs it, writes the result's record last.

Needs Python 3.11, numpy and one engine: no pydantic, no torch. It travels inside the archive that
`archive.py` makes, and is started as `python ARCHIVE FOLDER`. Its exit status says little on purpose:
whoever sent the job believes a complete record only.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocketportrait.contract import Array, TensorSpec
from pocketportrait.errors import InputError, PortraitError
from pocketportrait.runtime.file_runner import FileRunner
from pocketportrait.runtime.litert_runner import LitertRunner
from pocketportrait.runtime.onnx_runner import OnnxRunner
from pocketportrait.runtime.targets.passes import Passes, run_passes

JOB, RESULT, FAILURE = "job.json", "result.json", "failure.json"
PACKAGES = {
    "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert",
    "tflite-runtime": "tflite-runtime",
}


def main(arguments: list[str]) -> int:
    """Run the job in the folder that is the only argument; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("error: want the folder of a job, and nothing else\n")
        return 2
    folder = Path(arguments[0])
    try:
        run_job(folder)
    except PortraitError as error:
        failure = {"kind": type(error).__name__, "message": str(error)}
        _write(folder / FAILURE, json.dumps(failure).encode())
        return int(error.exit_code)
    return 0


def run_job(folder: Path) -> None:
    """Run the job in a folder and write its result there.

    Raises:
        InputError: a file is not the one that the job names, or the engine refuses it.
        MissingToolError: the engine is not installed.

    """
    raw = (folder / JOB).read_bytes()
    job = json.loads(raw)
    model = _checked(folder, job["model"])
    digests, feeds = {}, {}
    for name, facts in job["samples"].items():
        file = _checked(folder, facts)
        digests[name] = facts["sha256"]
        with np.load(file, allow_pickle=False) as tensors:
            feeds[name] = {key: tensors[key] for key in tensors.files}
    start = time.perf_counter()
    with open_engine(job["engine"], model, job["threads"]) as runner:
        load_ms = (time.perf_counter() - start) * 1000
        passes = run_passes(
            runner,
            feeds,
            warmup=job["warmup"],
            repeats=job["repeats"],
            marks=job["measure"] == "marks",
        )
        inputs, outputs = (_tensors(specs) for specs in (runner.inputs, runner.outputs))
    result = {
        "schema_version": 1,
        "nonce": job["nonce"],
        "job_sha256": hashlib.sha256(raw).hexdigest(),
        "model_sha256": job["model"]["sha256"],  # the file was just compared with it
        "inputs": inputs,
        "outputs": outputs,
        "samples": {
            name: {"input_sha256": digests[name], "output": _save(folder, name, values)}
            for name, values in passes.outputs.items()
        },
        "device": describe_device(job["engine"]),
        "timings": _timings(passes, load_ms) if job["measure"] == "time" else None,
        "marked_passes": passes.marked,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    _write(folder / RESULT, json.dumps(result, indent=2).encode() + b"\n")


def open_engine(engine: str, model: Path, threads: int | None) -> FileRunner:
    """Return a runner of a file that was not entered yet.

    Raises:
        InputError: there is no such engine on devices.

    """
    if engine == "onnxruntime":
        return OnnxRunner(model, threads=threads)
    if engine == "litert":
        return LitertRunner(model, threads=threads)
    if engine == "tflite-runtime":
        return LitertRunner(model, threads=threads, package="tflite_runtime")
    raise InputError(f"engine: want one of {', '.join(PACKAGES)}, got {engine!r}")


def describe_device(engine: str) -> dict[str, Any]:
    """Return the facts of this machine that a record keeps."""
    try:
        version = importlib.metadata.version(PACKAGES.get(engine, engine))
    except importlib.metadata.PackageNotFoundError:
        version = platform.mac_ver()[0] if engine == "coreml" else ""  # a part of macOS
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": _cores(),
        "python": platform.python_version(),
        "engine": engine,
        "engine_version": version,
        "numpy": np.__version__,
    }


def peak_rss_bytes() -> int | None:
    """Return the most memory that this process has held, in bytes; None where nobody says."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def _checked(folder: Path, facts: Mapping[str, Any]) -> Path:
    file = folder / str(facts["path"])
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
    if digest != facts["sha256"]:
        raise InputError(
            f"{facts['path']}: want sha256 {facts['sha256']}, got {digest}; send it again"
        )
    return file


def _tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
    return [{"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in specs]


def _save(folder: Path, name: str, values: Mapping[str, Array]) -> dict[str, Any]:
    path = f"out/{name}.npz"
    (folder / "out").mkdir(exist_ok=True)
    np.savez(folder / path, **values)  # type: ignore[arg-type]
    content = (folder / path).read_bytes()
    return {"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _timings(passes: Passes, load_ms: float) -> dict[str, Any]:
    return {"load_ms": load_ms, "first_ms": passes.first_ms, "passes_ms": passes.passes_ms}


def _write(path: Path, content: bytes) -> None:
    """Write beside the place and move there: whoever finds the file finds all of it."""
    beside = path.with_suffix(".part")
    beside.write_bytes(content)
    beside.replace(path)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        facts: dict[str, str] = {}
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
        for key in ("model name", "Model", "Hardware"):
            if facts.get(key):
                return facts[key]
        if "CPU part" in facts:
            return f"ARM implementer {facts.get('CPU implementer')}, part {facts['CPU part']}"
    return apple_processor() or platform.processor() or "unknown processor"


def apple_processor() -> str:
    """Return what a Mac calls its chip, such as Apple M2; nothing on other systems."""
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
