"""Emulated ARM CPUs: parity on the real kernels, instructions, never a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.runtime.targets import passes
from pocketportrait.runtime.targets.folder_target import Pushed
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.qemu import COUNTS, PLUGIN, QemuTarget
from pocketportrait.runtime.targets.record import DeviceRecord, ResultRecord
from pocketportrait.runtime.targets.registry import target_named
from pocketportrait.validation.checks import Status
from pocketportrait.validation.replay import Cell
from pocketportrait.validation.samples import golden_samples
from pocketportrait.validation.verify import verify

RESULT = ResultRecord(
    nonce="0" * 32,
    job_sha256="0" * 64,
    model_sha256="0" * 64,
    inputs=(),
    outputs=(),
    samples={},
    device=DeviceRecord(
        system="Linux",
        architecture="aarch64",
        processor="ARM",
        cores=1,
        python="3.11",
        engine="litert",
        engine_version="2",
        numpy="2",
    ),
    marked_passes=3,
)


@pytest.mark.parametrize(
    ("readings", "cost", "note"),
    [
        ("100 150 170 240 300 351", 51, ""),  # passes of 50, 70 and 51
        ("100 150 170 240", None, "want 6 readings of the counter, got 4"),
        ("", None, "want 6 readings of the counter, got 0"),
    ],
)
def test_the_cost_is_the_median_of_passes_that_were_all_counted(
    tmp_path: Path, readings: str, cost: int | None, note: str
) -> None:
    target = QemuTarget("qemu:arm64", "a76", tmp_path)
    assert target._cost(Pushed(tmp_path), RESULT)[0] is None  # no counter was built
    (tmp_path / PLUGIN).touch()
    (tmp_path / COUNTS).write_text(readings)
    assert target._cost(Pushed(tmp_path), RESULT) == (cost, note)


@pytest.mark.parametrize(("samples", "repeats", "marked"), [(1, 0, 1), (3, 0, 2), (1, 4, 4)])
def test_every_pass_but_the_first_stands_between_marks(
    samples: int, repeats: int, marked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Runner:
        def infer(self, feed: Mapping[str, Array]) -> dict[str, Array]:
            seen.append("pass")
            return dict(feed)

    monkeypatch.setattr(passes, "mark", lambda: seen.append("mark"))
    feeds = {str(n): {"x": np.zeros(1)} for n in range(samples)}
    found = passes.run_passes(Runner(), feeds, warmup=0, repeats=repeats, marks=True)
    assert found.marked == marked
    assert seen == ["pass", *["mark", "pass", "mark"] * marked]


@pytest.fixture
def emulated() -> QemuTarget:
    target = target_named("qemu:arm64-a53")
    assert isinstance(target, QemuTarget)
    if (reason := target.probe().reason) is not None:
        pytest.skip(reason)
    return target


@pytest.mark.slow
def test_arm_kernels_compute_what_torch_computed(tiny_bundle: Bundle, emulated: QemuTarget) -> None:
    targets = [target_named("qemu:arm64-a76"), emulated]
    report = verify(tiny_bundle, formats=["onnx", "tflite"], precisions=["fp32"], targets=targets)
    assert report.of(Status.FAIL, Status.SKIP, Status.WARN) == ()
    for target in targets:
        costs = [c for c in report.checks if c.kind == "cost" and c.target == target.name]
        assert len(costs) == 6  # three graphs in two formats
        assert all(c.cost is not None and c.cost > 100_000 for c in costs)
    for facts in report.targets:
        assert facts.emulated
        assert facts.device is not None
        assert facts.device.architecture == "aarch64"
    assert "_ms" not in report.model_dump_json()


@pytest.mark.slow
def test_instructions_of_a_pass_are_the_same_from_run_to_run(
    tiny_bundle: Bundle, emulated: QemuTarget
) -> None:
    feeds = {s.name: s.feed for s in golden_samples(tiny_bundle, "motion")}
    cell = Cell(tiny_bundle, "tflite", "fp32", emulated)
    one, two = (cell.run("motion", feeds).cost for _ in range(2))
    assert one is not None
    assert two is not None
    assert abs(one - two) / one < 1e-4


@pytest.mark.slow
def test_a_runner_that_dies_says_of_what(
    tiny_bundle: Bundle, emulated: QemuTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(emulated._engines, "onnx", "onnxruntime")
    environment = emulated._environment() | {"PYTHONPATH": "/nowhere"}  # without numpy
    monkeypatch.setattr(emulated, "_environment", lambda: environment)
    feeds = {s.name: s.feed for s in golden_samples(tiny_bundle, "motion")}
    with pytest.raises(TargetError, match=r"got none; the runner died.*numpy"):
        Cell(tiny_bundle, "onnx", "fp32", emulated).run("motion", feeds)
