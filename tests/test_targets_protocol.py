"""A job as a folder: what a device gives back counts only if it is whole and of this very job."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import TensorModel, VariantGraph
from pocketportrait.contract import GraphSpec, TensorSpec
from pocketportrait.errors import ExitCode, InputError, MissingToolError
from pocketportrait.runtime.targets.archive import ARCHIVE, MODULES, write_archive
from pocketportrait.runtime.targets.command import run_command
from pocketportrait.runtime.targets.folder_target import FolderTarget, Pushed
from pocketportrait.runtime.targets.protocol import (
    Job,
    Outcome,
    Probe,
    TargetError,
    Traits,
    execute,
)
from pocketportrait.runtime.targets.record import job_schema, result_schema

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = {"target-job-1.json": job_schema, "target-result-1.json": result_schema}
Tamper = Callable[[Path], None]


class OtherProcess(FolderTarget):
    """The archive under this interpreter; `tamper` changes what comes back."""

    def __init__(self, tamper: Tamper = lambda _: None, *, latency: bool = True) -> None:
        super().__init__(
            "test:here", Traits(("onnx",), True, latency, "", False), {"onnx": "onnxruntime"}
        )
        self.tamper, self.folders = tamper, list[Path]()

    def probe(self) -> Probe:
        return Probe()

    def _execute(self, pushed: Pushed, timeout_s: float) -> None:
        self.folders.append(pushed.folder)
        command = [sys.executable, pushed.folder / ARCHIVE, pushed.folder]
        pushed.said = run_command(command, timeout_s=timeout_s).said

    def _fetch(self, pushed: Pushed) -> None:
        self.tamper(pushed.folder)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two samples for a graph that doubles a picture."""
    onnx = pytest.importorskip("onnx")
    spec = GraphSpec("double", (TensorSpec("x", (1, 3, 4, 4)),), (TensorSpec("y", (1, 3, 4, 4)),))
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 3, 4, 4))
        for name in "xy"
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y]
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    path = tmp_path_factory.mktemp("model") / "double.onnx"
    onnx.save(model, path)
    declared = VariantGraph(
        path="double.onnx",
        inputs=tuple(map(TensorModel.of, spec.inputs)),
        outputs=tuple(map(TensorModel.of, spec.outputs)),
    )
    random = np.random.default_rng(0)
    feeds = {name: {"x": random.random((1, 3, 4, 4), np.float32)} for name in ("one", "two")}
    return Job(path, "onnx", spec, declared, feeds)


def test_another_process_gives_the_outputs_and_who_it_was(job: Job) -> None:
    target = OtherProcess()
    outcome = execute(target, dataclasses.replace(job, warmup=1, repeats=3))
    for name, feed in job.feeds.items():
        assert np.array_equal(outcome.outputs[name]["y"], 2 * feed["x"])
    assert outcome.device.engine == "onnxruntime"
    assert outcome.device.numpy == np.__version__
    assert outcome.timings is not None
    assert len(outcome.timings.passes_ms) == 3
    assert not target.folders[0].exists()  # nothing is left behind


def test_a_target_whose_times_mean_nothing_reports_none(job: Job) -> None:
    outcome = execute(OtherProcess(latency=False), dataclasses.replace(job, repeats=2))
    assert outcome.timings is None
    with pytest.raises(TargetError, match="is emulated and reported times"):
        Outcome("x", True, {}, outcome.device, timings=execute(OtherProcess(), job).timings)


def edit(**changes: object) -> Tamper:
    def change(folder: Path) -> None:
        path = folder / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def cut(folder: Path) -> None:
    path = folder / "result.json"
    path.write_bytes(path.read_bytes()[:-40])


def lose_a_sample(folder: Path) -> None:
    path = folder / "result.json"
    record = json.loads(path.read_text())
    del record["samples"]["two"]
    path.write_text(json.dumps(record))


def change_an_output(folder: Path) -> None:
    np.savez(folder / "out" / "one.npz", y=np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lambda f: (f / "result.json").unlink(), "want a report, got none; the runner died"),
        (cut, "want a complete report"),
        (edit(nonce="0" * 32), "got another nonce"),
        (edit(job_sha256="0" * 64), "got another job"),
        (edit(model_sha256="0" * 64), "got another model"),
        (edit(schema_version=2), "complete report, got one whose schema_version"),
        (edit(surprise=1), "complete report, got one whose surprise"),
        (lose_a_sample, "got another samples"),
        (change_an_output, "got another output of one"),
        (lambda f: (f / "out" / "two.npz").unlink(), "got another output of two"),
        (lambda f: (f / "failure.json").write_text("{"), "its report of that is broken"),
    ],
)
def test_a_report_that_is_cut_off_or_foreign_never_counts(
    job: Job, tamper: Tamper, words: str
) -> None:
    with pytest.raises(TargetError, match=words) as caught:
        execute(OtherProcess(tamper), job)
    assert caught.value.exit_code is ExitCode.MISSING_TOOL


def test_a_model_that_changed_on_the_way_is_refused_by_the_device(job: Job) -> None:
    class Corrupting(OtherProcess):
        def _send(self, pushed: Pushed) -> None:
            model = pushed.folder / "model.onnx"
            model.write_bytes(model.read_bytes()[:-1])

    with pytest.raises(InputError, match=r"model\.onnx: want sha256 .* send it again"):
        execute(Corrupting(), job)


def test_a_file_that_is_not_what_the_manifest_says_is_refused(job: Job) -> None:
    other = job.declared.outputs[0].model_copy(update={"shape": (1, 3, 2, 2)})
    wrong = job.declared.model_copy(update={"outputs": (other,)})
    with pytest.raises(InputError, match=r"y: the manifest says .*\(1, 3, 2, 2\)"):
        execute(OtherProcess(), dataclasses.replace(job, declared=wrong))


def test_a_job_that_takes_too_long_is_stopped(job: Job) -> None:
    target = OtherProcess()
    with pytest.raises(subprocess.TimeoutExpired):
        execute(target, dataclasses.replace(job, timeout_s=0.01))
    assert not target.folders[0].exists()


def test_an_engine_that_is_missing_there_is_a_missing_tool(job: Job) -> None:
    target = OtherProcess()
    target._engines = {"onnx": "tflite-runtime"}  # not beside numpy 2
    with pytest.raises(MissingToolError, match="tflite-runtime"):
        execute(target, job)


def test_a_format_that_a_target_does_not_run_is_refused(job: Job) -> None:
    with pytest.raises(InputError, match="want a file of onnx, got tflite"):
        execute(OtherProcess(), dataclasses.replace(job, format="tflite"))


def test_the_archive_is_the_same_every_time_and_holds_no_heavy_module(tmp_path: Path) -> None:
    for name in ("a.pyz", "b.pyz"):
        write_archive(tmp_path / name)
    assert (tmp_path / "a.pyz").read_bytes() == (tmp_path / "b.pyz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pyz") as archive:
        assert len(archive.namelist()) == len(MODULES) + 1
        text = "".join(archive.read(name).decode() for name in archive.namelist())
    for heavy in ("pydantic", "torch", "safetensors"):
        assert f"import {heavy}" not in text
        assert f"from {heavy}" not in text


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schemas_are_the_ones_of_the_code(name: str) -> None:
    assert json.loads((ROOT / "docs" / "schemas" / name).read_text()) == SCHEMAS[name]()
