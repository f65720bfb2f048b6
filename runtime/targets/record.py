"""What goes to a target and what comes back: two JSON documents, bound together by a nonce and hashes.

Their JSON Schemas are published as `docs/schemas/target-job-1.json` and `target-result-1.json`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^([a-z]+/)?[A-Za-z0-9][A-Za-z0-9._-]{0,80}$")]
Measure = Literal[
    "nothing", "time", "marks"
]  # marks: a system call around every pass, for a counter
Backend = Literal["wasm", "webgpu"]  # of an engine in a browser


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(_Record):
    """A file of the job's folder."""

    path: FileName
    bytes: int = Field(ge=0)
    sha256: Sha256


class JobRecord(_Record):
    """`job.json`: one model file, what it is fed, and how often."""

    schema_version: Literal[1] = 1
    nonce: Nonce
    engine: Literal["onnxruntime", "litert", "tflite-runtime", "onnxruntime-web", "litert-js"]
    backend: Backend | None = None  # None where the engine has one alone
    graph: Name
    model: FileRecord
    samples: dict[Name, FileRecord] = Field(min_length=1)  # one .npz each, in the file's own layout
    threads: int | None = Field(default=None, ge=1)  # None lets the engine choose
    warmup: int = Field(default=0, ge=0)  # passes over the first sample, not measured
    repeats: int = Field(default=0, ge=0)  # and measured
    measure: Measure = "nothing"


class TensorRecord(_Record):
    """A tensor as the engine found it in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class SampleRecord(_Record):
    """One sample: what was read, by digest, and the .npz that it gave."""

    input_sha256: Sha256
    output: FileRecord


class DeviceRecord(_Record):
    """What ran the job; no names, no paths."""

    system: str
    architecture: str
    processor: str
    cores: int  # that the process may use; 0 where the device does not tell
    python: str  # empty where none takes part, as in a browser; so is numpy
    engine: str
    engine_version: str
    numpy: str


class TimingsRecord(_Record):
    """Milliseconds of the engine alone, by a monotonic clock."""

    load_ms: float
    first_ms: float
    passes_ms: tuple[float, ...]  # of `repeats` passes after the warm-up


class ResultRecord(_Record):
    """`result.json`: written last, so that a report that exists is whole; or the error alone."""

    schema_version: Literal[1] = 1
    nonce: Nonce
    job_sha256: Sha256  # of job.json as the device read it
    model_sha256: Sha256  # of the model as the device read it
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    samples: dict[Name, SampleRecord]
    device: DeviceRecord
    timings: TimingsRecord | None = None
    marked_passes: int = 0  # passes that stand between two marks
    peak_rss_bytes: int | None = None
    residency: str = ""  # what ran the passes, where the engine can tell


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of `job.json`."""
    return _schema(JobRecord)


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema of `result.json`."""
    return _schema(ResultRecord)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
