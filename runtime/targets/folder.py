"""A job as a folder, written for a device and read back with suspicion."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from pydantic import ValidationError

from pocketportrait import atomic
from pocketportrait.bundle import VariantGraph
from pocketportrait.contract import Array, GraphSpec, Layout, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.layout import convert, plain_layout
from pocketportrait.runtime.targets.archive import ARCHIVE, write_archive
from pocketportrait.runtime.targets.protocol import Job, TargetError
from pocketportrait.runtime.targets.record import (
    Backend,
    FileRecord,
    JobRecord,
    Measure,
    ResultRecord,
    TensorRecord,
)

JOB, RESULT, FAILURE = "job.json", "result.json", "failure.json"
LAYOUTS: dict[str, Layout] = {"onnx": "NCHW", "tflite": "NHWC"}


def write_job(
    folder: Path,
    job: Job,
    engine: str,
    measure: Measure,
    threads: int | None,
    backend: Backend | None = None,
) -> None:
    """Write the runner's archive, the model, the samples and, last, `job.json`.

    Args:
        folder: an empty folder.
        job: what to run; its feeds are converted to the file's layout by what the manifest says.
        engine: what runs it.
        measure: time where times mean something, marks where passes are counted from outside.
        threads: of the engine.
        backend: of an engine that has several.

    """
    write_archive(folder / ARCHIVE)
    model = folder / f"model{job.model.suffix}"
    shutil.copyfile(job.model, model)
    (folder / "in").mkdir()
    samples = {}
    for name, feed in job.feeds.items():
        path = folder / "in" / f"{name}.npz"
        np.savez(path, **_to_file(job.graph, job.declared, feed))  # type: ignore[arg-type]
        samples[name] = _facts(folder, path)
    record = JobRecord.model_validate(
        {
            "nonce": job.nonce,
            "engine": engine,
            "backend": backend,
            "graph": job.graph.name,
            "model": _facts(folder, model),
            "samples": samples,
            "threads": threads,
            "warmup": job.warmup,
            "repeats": job.repeats,
            "measure": measure,
        }
    )
    atomic.write_bytes(folder / JOB, record.model_dump_json(indent=2).encode() + b"\n")


def read_result(target: str, folder: Path, said: str = "") -> ResultRecord:
    """Read the result that lies in a job's folder and compare it with the job.

    Args:
        target: its name, for messages.
        folder: the folder that `write_job` filled, with what the device added.
        said: the end of what the device printed, for messages.

    Raises:
        InputError: the device could not run the file, and said why.
        MissingToolError: the engine is not installed there.
        TargetError: no report, a part of one, one of another job, or files unlike its hashes.

    """
    _raise_failure(target, folder)
    path = folder / RESULT
    if not path.is_file():
        raise TargetError(f"{target}: want a report, got none; the runner died{_quoted(said)}")
    try:
        result = ResultRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise TargetError(
            f"{target}: want a complete report, got one whose {where} is wrong ({first['msg']})"
        ) from error
    raw = (folder / JOB).read_bytes()
    _compare(target, folder, result, JobRecord.model_validate_json(raw), _digest(raw))
    return result


def read_outputs(folder: Path, result: ResultRecord, job: Job) -> dict[str, dict[str, Array]]:
    """Return the outputs of a result that was compared, in the contract's layout.

    Raises:
        InputError: the file's tensors, as the device found them, are not what the manifest says.
        TargetError: an output is missing or of another shape than the report says.

    """
    layout = LAYOUTS[job.format]
    stated = _Stated(_specs(result.inputs, layout), _specs(result.outputs, layout))
    outputs = {}
    with ContractRunner(stated, job.graph, job.declared) as contract:
        for name, sample in result.samples.items():
            with np.load(folder / sample.output.path, allow_pickle=False) as tensors:
                values = {key: tensors[key] for key in tensors.files}
            for spec in stated.outputs:
                got = values.get(spec.name)
                if got is None or (got.shape, got.dtype.name) != (spec.shape, spec.dtype):
                    raise TargetError(f"{name}: {spec.name}: unlike what the report says of it")
            outputs[name] = contract.from_file(values)
    return outputs


class _Stated:
    """The tensors of a file as a device stated them; there is nothing to run here."""

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs, self.outputs = inputs, outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        raise TargetError("the passes were run on the device")


def _to_file(
    graph: GraphSpec, declared: VariantGraph, feed: Mapping[str, Array]
) -> dict[str, Array]:
    graph.check_feed(feed)
    models = {model.name: model for model in declared.inputs}
    return {s.name: convert(feed[s.name], s, models[s.name].spec()) for s in graph.inputs}


def _specs(tensors: tuple[TensorRecord, ...], four: Layout) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t.name, t.shape, t.dtype, plain_layout(t.shape, four)) for t in tensors)


def _raise_failure(target: str, folder: Path) -> None:
    path = folder / FAILURE
    if not path.is_file():
        return
    try:
        failure = json.loads(path.read_bytes())
        kind, message = str(failure["kind"]), str(failure["message"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TargetError(f"{target}: failed, and its report of that is broken") from error
    known = {"InputError": InputError, "MissingToolError": MissingToolError}
    raise known.get(kind, TargetError)(f"{target}: {message}")


def _compare(
    target: str, folder: Path, result: ResultRecord, job: JobRecord, job_sha256: str
) -> None:
    """Refuse a report that is not the one of this very job."""
    pairs: dict[str, tuple[object, object]] = {
        "nonce": (job.nonce, result.nonce),
        "job": (job_sha256, result.job_sha256),
        "model": (job.model.sha256, result.model_sha256),
        "engine": (job.engine, result.device.engine),
        "samples": (sorted(job.samples), sorted(result.samples)),
    }
    for name, sample in result.samples.items():
        if name in job.samples:
            pairs[f"input of {name}"] = (job.samples[name].sha256, sample.input_sha256)
            want = (f"out/{name}.npz", sample.output.bytes, sample.output.sha256)
            pairs[f"output of {name}"] = (want, _on_disk(folder, name))
    for what, (wanted, got) in pairs.items():
        if wanted != got:
            raise TargetError(
                f"{target}: want the report of this job, got another {what} ({got}, not {wanted})"
            )


def _on_disk(folder: Path, name: str) -> tuple[str, int, str]:
    path = folder / "out" / f"{name}.npz"
    if not path.is_file():
        return (f"no out/{name}.npz", 0, "")
    content = path.read_bytes()
    return (f"out/{name}.npz", len(content), _digest(content))


def _facts(folder: Path, path: Path) -> FileRecord:
    content = path.read_bytes()
    relative = path.relative_to(folder).as_posix()
    return FileRecord(path=relative, bytes=len(content), sha256=_digest(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _quoted(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {' | '.join(lines[-3:])}" if lines else ""
