"""The browser as a target: what counts as a result without one, and the real Chromium."""

from __future__ import annotations

import dataclasses
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, TensorModel, VariantGraph
from pocketportrait.contract import GraphSpec, TensorSpec
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets import browser as module
from pocketportrait.runtime.targets.browser import KINDS, BrowserTarget
from pocketportrait.runtime.targets.chromium import VARIABLE, find_chromium
from pocketportrait.runtime.targets.folder_target import Pushed
from pocketportrait.runtime.targets.protocol import Job, Outcome, TargetError, execute
from pocketportrait.runtime.web.server import TOKEN_HEADER
from pocketportrait.runtime.web.vendor import INSTALLED
from pocketportrait.validation.checks import Status
from pocketportrait.validation.samples import golden_samples
from pocketportrait.validation.verify import verify


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where everything seems to be installed."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / INSTALLED).write_text("{}")
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    return tmp_path / "home"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    spec = GraphSpec("double", (TensorSpec("x", (1, 3, 2, 2)),), (TensorSpec("y", (1, 3, 2, 2)),))
    model = tmp_path / "double.onnx"
    model.write_bytes(b"a model")
    declared = VariantGraph(
        path="double.onnx",
        inputs=tuple(map(TensorModel.of, spec.inputs)),
        outputs=tuple(map(TensorModel.of, spec.outputs)),
    )
    return Job(model, "onnx", spec, declared, {"one": {"x": np.ones((1, 3, 2, 2), np.float32)}})


class FakeChromium:
    """A page that gives what it is told to instead of a report, over the real server."""

    started = 0
    gives: ClassVar[dict[str, bytes]] = {}
    statuses: ClassVar[list[int]] = []
    version = "Fake/1"

    def __init__(self, program: Path, flags: tuple[str, ...]) -> None:
        self.complaints: list[str] = []

    def __enter__(self) -> FakeChromium:
        type(self).started += 1
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def open(self, url: str) -> None:
        self.url = url

    def value(self, expression: str, timeout_s: float = 0) -> Any:
        told = json.loads(expression.partition("runJob(")[2].removesuffix("))"))
        assert told["device"]["system"].endswith("Fake/1")
        for path, content in self.gives.items():
            connection = http.client.HTTPConnection(self.url.split("/")[2], timeout=20)
            headers = {TOKEN_HEADER: told["token"]}
            connection.request("PUT", f"/inbox/{path}", content, headers)
            self.statuses.append(connection.getresponse().status)
            connection.close()
        return "done" if "result.json" in self.gives else "failed"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeChromium]:
    class Fresh(FakeChromium):
        gives: ClassVar[dict[str, bytes]] = {}
        statuses: ClassVar[list[int]] = []

    monkeypatch.setattr(module, "Chromium", Fresh)
    return Fresh


def failure(kind: str) -> dict[str, bytes]:
    return {"failure.json": json.dumps({"kind": kind, "message": "no such thing"}).encode()}


@pytest.mark.parametrize(
    ("gives", "error", "words"),
    [
        ({}, TargetError, "want a report, got none"),
        ({"result.json": b"{"}, TargetError, "want a complete report"),
        (failure("InputError"), InputError, "browser: no such thing"),
        (failure("MissingToolError"), MissingToolError, "no such thing"),
        (failure("KeyError"), TargetError, "no such thing"),
    ],
)
def test_what_a_page_gives_instead_of_a_report_never_counts(
    home: Path,
    job: Job,
    fake: type[FakeChromium],
    gives: dict[str, bytes],
    error: type[Exception],
    words: str,
) -> None:
    fake.gives = gives
    with pytest.raises(error, match=words):
        execute(BrowserTarget("browser", home), job)
    assert set(fake.statuses) <= {204}


def test_a_page_gives_files_of_its_job_alone(
    home: Path, job: Job, fake: type[FakeChromium]
) -> None:
    strange = ("model.onnx", "job.json", "in/one.npz", "out/two.npz", "out/../job.json", "x")
    fake.gives = dict.fromkeys(strange, b"x")
    with pytest.raises(TargetError, match="got none"):
        execute(BrowserTarget("browser", home), job)
    assert fake.statuses == [404] * len(strange)


def test_a_browser_is_kept_for_the_next_job_unless_one_broke_off_or_wants_other_threads(
    home: Path, job: Job, fake: type[FakeChromium]
) -> None:
    target = BrowserTarget("browser", home)
    for threads, gives, started in (
        (None, {"result.json": b"{}"}, 1),
        (None, {"result.json": b"{}"}, 1),
        (2, {"result.json": b"{}"}, 2),
        (2, {}, 2),
        (2, {"result.json": b"{}"}, 3),
    ):
        fake.gives = gives
        again = dataclasses.replace(job, threads=threads, nonce=f"{started:032x}")
        with pytest.raises(TargetError):
            execute(target, again)
        assert fake.started == started
    target.close()


def test_kinds_compute_on_what_they_say_and_a_software_adapter_reports_no_times() -> None:
    traits = {name: BrowserTarget(name).traits for name in KINDS}
    assert [t.emulated for t in traits.values()] == [False, False, True]
    assert [t.can_latency for t in traits.values()] == [True, True, False]


def test_a_browser_that_is_not_there_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BrowserTarget("browser", home).probe().available
    missing = BrowserTarget("browser", tmp_path / "empty").probe()
    assert str(missing.reason).endswith("run: pocketportrait targets install browser")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    assert find_chromium(home) is None
    assert f"name it with {VARIABLE}" in str(BrowserTarget("browser", home).probe().reason)


@pytest.fixture(scope="module")
def real() -> Iterator[BrowserTarget]:
    target = BrowserTarget("browser")
    if (reason := target.probe().reason) is not None:
        pytest.skip(reason)
    yield target
    target.close()


def run(
    bundle: Bundle, target: BrowserTarget, format: str, graph: str, repeats: int = 0
) -> Outcome:
    declared = bundle.variant(format, "fp32").graphs[graph]
    feeds = {s.name: s.feed for s in golden_samples(bundle, graph)}
    file = bundle.file(declared.path)
    return execute(
        target, Job(file, format, bundle.graph_spec(graph), declared, feeds, repeats=repeats)
    )


@pytest.mark.slow
def test_a_real_browser_computes_what_torch_computed(
    tiny_bundle: Bundle, real: BrowserTarget
) -> None:
    report = verify(tiny_bundle, formats=["onnx", "tflite"], precisions=["fp32"], targets=[real])
    assert report.of(Status.FAIL, Status.SKIP, Status.WARN) == ()
    (facts,) = report.targets
    assert facts.device is not None
    assert "Chrom" in facts.device.system
    compared = {(c.variant, c.graph) for c in report.checks if c.kind == "golden"}
    assert len(compared) == 6


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_passes_are_timed_and_the_engine_says_what_ran_them(
    tiny_bundle: Bundle, real: BrowserTarget, format: str
) -> None:
    outcome = run(tiny_bundle, real, format, "motion", repeats=3)
    assert outcome.timings is not None
    assert len(outcome.timings.passes_ms) == 3
    assert min(outcome.timings.passes_ms) > 0
    assert outcome.residency.startswith("wasm, ")
    assert "SIMD" in outcome.residency
    assert "thread" in outcome.residency


@pytest.mark.slow
def test_a_file_that_an_engine_refuses_is_a_failed_check(
    tiny_bundle: Bundle, real: BrowserTarget, job: Job
) -> None:
    with pytest.raises(InputError, match="want a file that onnxruntime-web loads"):
        execute(real, job)


class Corrupting(BrowserTarget):
    """A disk that loses the last byte of the model."""

    def _send(self, pushed: Pushed) -> None:
        model = pushed.folder / "model.onnx"
        model.write_bytes(model.read_bytes()[:-1])


@pytest.mark.slow
def test_a_model_that_changed_on_the_way_is_refused_by_the_page(
    tiny_bundle: Bundle, real: BrowserTarget
) -> None:
    target = Corrupting(real.name)
    with pytest.raises(InputError, match=r"model\.onnx: want sha256 .* send it again"):
        run(tiny_bundle, target, "onnx", "motion")
    assert target._page is None  # it is not asked again


@pytest.mark.slow
def test_shaders_compute_the_same_where_there_is_an_adapter(tiny_bundle: Bundle) -> None:
    target = BrowserTarget("browser:swiftshader")
    if (reason := target.probe().reason) is not None:
        pytest.skip(reason)
    outcome = run(tiny_bundle, target, "onnx", "motion")
    target.close()
    assert outcome.timings is None
    assert outcome.residency.startswith("webgpu on ")
    for sample in golden_samples(tiny_bundle, "motion"):
        got = outcome.outputs[sample.name]["code"]
        assert np.abs(got - sample.want["code"]).max() < 1e-4  # float32, other orders of sums
