"""The native runner by itself: what it reads, what it refuses and with which words."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.native_runner import SOURCES, compile_runner, compiler, engine_libraries

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="no C compiler here; run: make device-tools"
)
onnx = pytest.importorskip("onnx")
TENSORS = {
    "a": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b": np.arange(3, dtype=np.float16),
    "c": np.full((1, 1, 2, 1), np.pi, np.float64),
    "d": np.array([-128, 127], np.int8),
    "e": np.array([[0], [255]], np.uint8),
    "f": np.array([-(2**31), 2**31 - 1], np.int32),
    "g": np.array([2**62], np.int64),
}
Ran = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = compiler()
    assert command is not None
    path = tmp_path_factory.mktemp("runner") / "portrait_runner"
    compile_runner(path, command)
    return path


@pytest.fixture(scope="module")
def model() -> bytes:
    """A graph that gives back what it takes, one tensor of every type that is covered."""
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(t.dtype) for name, t in TENSORS.items()}
    sides = [
        [onnx.helper.make_tensor_value_info(p + n, types[n], t.shape) for n, t in TENSORS.items()]
        for p in ("", "same_")
    ]
    nodes = [onnx.helper.make_node("Identity", [n], [f"same_{n}"]) for n in TENSORS]
    graph = onnx.helper.make_graph(nodes, "same", *sides)
    opset = [onnx.helper.make_opsetid("", 18)]
    made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    return bytes(made.SerializeToString())


def facts(folder: Path, path: str) -> dict[str, Any]:
    content = (folder / path).read_bytes()
    return {
        "path": path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def write_job(folder: Path, model: bytes) -> dict[str, Any]:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    if not (folder / "in" / "one.npz").exists():
        np.savez(folder / "in" / "one.npz", **TENSORS)  # type: ignore[arg-type]
    return {
        "schema_version": 1,
        "nonce": "0123456789abcdef" * 2,
        "engine": "onnxruntime",
        "graph": "same",
        "model": facts(folder, "model.onnx"),
        "samples": {"one": facts(folder, "in/one.npz")},
        "threads": None,
        "warmup": 0,
        "repeats": 2,
        "measure": "time",
    }


def run(
    runner: Path,
    folder: Path,
    job: str,
    library: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Run a job; returns the status and what was reported, a result or a failure."""
    (folder / "job.json").write_text(job)
    engine = engine_libraries()["onnxruntime"] if library is None else library
    done = subprocess.run(
        [runner, folder, engine, "60"],
        check=False,
        capture_output=True,
        env={**os.environ, **(environment or {})},
    )
    reports = [f for n in ("result", "failure") if (f := folder / f"{n}.json").exists()]
    assert len(reports) == 1
    return done.returncode, json.loads(reports[0].read_text())


def test_every_type_and_rank_comes_back_as_it_went(
    runner: Path, model: bytes, tmp_path: Path
) -> None:
    job = json.dumps(write_job(tmp_path, model))
    status, result = run(runner, tmp_path, job)
    assert status == 0, result
    with np.load(tmp_path / "out" / "one.npz", allow_pickle=False) as outputs:
        assert set(outputs.files) == {f"same_{name}" for name in TENSORS}
        for name, tensor in TENSORS.items():
            assert outputs[f"same_{name}"].dtype == tensor.dtype
            assert np.array_equal(outputs[f"same_{name}"], tensor)
    assert result["job_sha256"] == hashlib.sha256(job.encode()).hexdigest()
    assert result["samples"]["one"]["output"] == facts(tmp_path, "out/one.npz")
    assert len(result["timings"]["passes_ms"]) == 2
    assert {t["name"]: (tuple(t["shape"]), t["dtype"]) for t in result["inputs"]} == {
        name: (tensor.shape, tensor.dtype.name) for name, tensor in TENSORS.items()
    }


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 100_000])
def test_digests_are_those_of_sha256(runner: Path, tmp_path: Path, length: int) -> None:
    content = bytes(i * 7 % 256 for i in range(length))
    job = write_job(tmp_path, content)
    job["model"]["sha256"] = "0" * 64
    status, failure = run(runner, tmp_path, json.dumps(job))
    assert status == 2
    assert failure["kind"] == "InputError"
    assert f"got {hashlib.sha256(content).hexdigest()}; send it again" in failure["message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[:-1] + ",}", "want '\"'"),
        (lambda t: t + " x", "want the end"),
        (lambda t: t[:-20], "want"),
        (lambda t: t.replace('"repeats": 2', '"repeats": 2.5'), "want a whole number"),
        (lambda t: t.replace('"repeats": 2', '"repeats": -1'), "repeats: want a number from 0"),
        (lambda t: t.replace('"repeats": 2', '"repeats": "2"'), "repeats: got a value of another"),
        (lambda t: t.replace('"warmup": 0', '"repeats": 0'), "want every name once"),
        (lambda t: t.replace('"warmup": 0', '"other": 0'), "want warmup, got none"),
        (lambda t: t.replace("model.onnx", "../model.onnx"), "is outside"),
        (lambda t: t.replace('"onnxruntime"', '"tvm"'), "want onnxruntime or litert, got tvm"),
        (lambda t: t.replace('_version": 1', '_version": 2'), "build the runner anew"),
        (lambda t: t.replace("same", "\\ud83d"), "want an ASCII character"),
        (lambda t: "[" * 40 + t, "at most 16 levels"),
    ],
)
def test_a_job_that_is_not_strictly_one_is_refused(
    runner: Path, model: bytes, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    status, failure = run(runner, tmp_path, change(json.dumps(write_job(tmp_path, model))))
    assert status == 2
    assert failure["kind"] == "InputError"
    assert words in failure["message"]


def sample(**changes: Any) -> dict[str, Any]:
    return {**TENSORS, **changes}


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (lambda p: np.savez_compressed(p, **TENSORS), "got compressed members"),
        (lambda p: np.savez(p, **sample(a=np.asfortranarray(TENSORS["a"]))), "got Fortran order"),
        (lambda p: np.savez(p, **sample(a=np.zeros(2, np.complex64))), "type that is not covered"),
        (lambda p: np.savez(p, **sample(a=np.zeros((2, 3), np.float32))), "got another shape"),
        (lambda p: np.savez(p, a=TENSORS["a"]), "want a tensor as in the file, got none"),
        (lambda p: np.savez(p, **sample(z=np.zeros(1, np.int8))), "want 7 tensors, got 8"),
        (lambda p: p.write_bytes(b"PK"), "got no ZIP"),
    ],
)
def test_a_sample_of_another_kind_is_refused(
    runner: Path, model: bytes, tmp_path: Path, save: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "one.npz")
    status, failure = run(runner, tmp_path, json.dumps(write_job(tmp_path, model)))
    assert status == 2
    assert words in failure["message"]


def test_a_sample_with_a_flipped_bit_is_refused_by_its_checksum(
    runner: Path, model: bytes, tmp_path: Path
) -> None:
    write_job(tmp_path, model)
    path = tmp_path / "in" / "one.npz"
    content = bytearray(path.read_bytes())
    content[content.index(TENSORS["a"].tobytes()) + 20] ^= 1
    path.write_bytes(content)
    status, failure = run(runner, tmp_path, json.dumps(write_job(tmp_path, model)))
    assert status == 2
    assert "got another checksum" in failure["message"]


def test_a_file_that_the_engine_refuses_is_bad_input(runner: Path, tmp_path: Path) -> None:
    status, failure = run(runner, tmp_path, json.dumps(write_job(tmp_path, b"no model")))
    assert (status, failure["kind"]) == (2, "InputError")
    assert "ONNX Runtime: call 7: " in failure["message"]


@pytest.mark.parametrize("library", ["/nowhere/libonnxruntime.so", "libc.so.6"])
def test_a_library_that_is_none_of_the_engine_is_a_missing_tool(
    runner: Path, model: bytes, tmp_path: Path, library: str
) -> None:
    status, failure = run(runner, tmp_path, json.dumps(write_job(tmp_path, model)), library)
    assert (status, failure["kind"]) == (3, "MissingToolError")


def test_a_runner_that_nobody_waits_for_is_ended(
    runner: Path, model: bytes, tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text(json.dumps(write_job(tmp_path, model)))
    library = tmp_path / "library"
    os.mkfifo(library)  # it loads for ever
    done = subprocess.run([runner, tmp_path, library, "1"], check=False, timeout=60)
    assert done.returncode == -signal.SIGALRM
    assert not (tmp_path / "result.json").exists()


PROPERTIES = """
#include <string.h>
int __system_property_get(const char *name, char *value) {
    static const char *const all[][2] = {{"ro.build.version.release", "14"},
        {"ro.soc.manufacturer", "Google"}, {"ro.soc.model", "Tensor G3"},
        {"ro.product.model", "Pixel \\"8\\""}};
    for (int i = 0; i < 4; i++) if (!strcmp(all[i][0], name)) strcpy(value, all[i][1]);
    return 0;
}
"""


def test_a_phone_is_described_by_its_properties(runner: Path, model: bytes, tmp_path: Path) -> None:
    source, library = tmp_path / "properties.c", tmp_path / "properties.so"
    source.write_text(PROPERTIES)
    command = [str(compiler()), "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    job = json.dumps(write_job(tmp_path, model))
    status, result = run(runner, tmp_path, job, environment={"LD_PRELOAD": str(library)})
    assert status == 0
    assert result["device"]["system"] == "Android 14"
    assert result["device"]["processor"] == 'Google Tensor G3 (Pixel "8")'


def test_cmake_names_every_source() -> None:
    named = (SOURCES.parent / "CMakeLists.txt").read_text()
    assert [f.name for f in SOURCES.glob("*.c") if f"src/{f.name}" not in named] == []


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["here", "aarch64-linux-gnu"])
def test_cmake_builds_it_for_a_machine(tmp_path: Path, machine: str) -> None:
    needed = ["cmake"] if machine == "here" else ["cmake", f"{machine}-gcc"]
    if missing := [name for name in needed if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)} here; run: make device-tools")
    file = SOURCES.parent / "toolchains" / f"{machine}.cmake"
    chosen = [] if machine == "here" else ["--toolchain", str(file)]
    for command in (
        ["cmake", "-S", str(SOURCES.parent), "-B", str(tmp_path / "build"), *chosen],
        ["cmake", "--build", str(tmp_path / "build")],
        ["cmake", "--install", str(tmp_path / "build"), "--prefix", str(tmp_path / "there")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    header = (tmp_path / "there" / "portrait_runner").read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    if machine != "here":
        assert int.from_bytes(header[18:20], "little") == 183  # EM_AARCH64
