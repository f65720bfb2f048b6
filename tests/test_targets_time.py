"""Times of targets: those that mean something, with what ran the passes; none of an emulated one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.registry import target_named
from pocketportrait.validation.target_latency import target_times_schema, time_targets

ROOT = Path(__file__).resolve().parent.parent


def test_a_variant_is_timed_where_times_mean_something(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_TARGETS", str(tmp_path))  # where nothing is installed
    names = ("local:onnxruntime", "browser:swiftshader", "browser")
    targets = [target_named(name) for name in names]
    told: list[str] = []
    times = time_targets(
        tiny_bundle, targets, precisions=["fp32"], warmup=1, repeats=3, tell=told.append
    )
    rows = {(row.variant, row.target): row for row in times.rows}
    assert set(rows) == {("onnx/fp32", name) for name in names} | {
        ("tflite/fp32", name) for name in names[1:]
    }
    here = rows["onnx/fp32", "local:onnxruntime"]
    assert here.frame_ms == here.graphs["motion"].warm.p50_ms + here.graphs["render"].warm.p50_ms
    assert (here.graphs["render"].warm.repeats, here.graphs["render"].warm.warmup) == (3, 1)
    assert here.device is not None
    assert here.device.engine == "onnxruntime"
    emulated, missing = (rows["onnx/fp32", name] for name in names[1:])
    assert (emulated.frame_ms, emulated.skipped) == (None, "it is emulated: no times")
    assert "targets install browser" in missing.skipped
    assert told[0] == "onnx/fp32 on local:onnxruntime"


def test_the_published_schema_is_the_one_of_the_code() -> None:
    published = ROOT / "docs" / "schemas" / "target-times-1.json"
    assert json.loads(published.read_text()) == target_times_schema()


def test_nothing_to_time_is_bad_input(tiny_bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no target here runs a variant of it"):
        time_targets(tiny_bundle, [target_named("local:litert")], precisions=["fp8"])


def test_the_command_prints_the_figures_that_it_writes(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.json"
    arguments = ["targets", "time", str(tiny_bundle.root), "-t", "local:onnxruntime"]
    assert main([*arguments, "-p", "fp32", "--repeats", "3", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    frame = sum(row["graphs"][graph]["warm"]["p50_ms"] for graph in ("motion", "render"))
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"onnx/fp32 on local:onnxruntime: {frame:.1f} ms a frame")
