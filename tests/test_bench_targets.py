"""Milliseconds of targets: those that mean something, as the same records; none of an emulated one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.runtime.targets.local import LocalTarget
from pocketportrait.runtime.targets.protocol import Probe
from pocketportrait.runtime.targets.registry import targets_named
from pocketportrait.validation.bench import BenchOptions, Choice
from pocketportrait.validation.bench_target import measure_targets, minutes_of
from pocketportrait.validation.report_record import findings, read_result

FEW = BenchOptions(rounds=20, warmup=1, threads=1)
NAMES = ("local:onnxruntime", "qemu:arm64-a53", "browser")


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_TARGETS", str(tmp_path))


@pytest.mark.usefixtures("nothing_installed")
def test_a_variant_is_timed_where_times_mean_something(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = targets_named(NAMES)
    monkeypatch.setattr(targets[1], "probe", Probe)  # as if it were installed
    told: list[str] = []
    choice = Choice.read(tiny_bundle, "onnx/fp32")
    timed, here = measure_targets([choice], targets, FEW, sustained_s=0.2, tell=told.append)
    (row,) = timed.variants
    assert row.name == "onnx/fp32 (onnxruntime on local:onnxruntime)"
    assert row.frame is not None
    assert (row.frame.repeats, row.frame.warmup, row.threads) == (20, 1, 1)
    motion, render = (g.warm for g in row.graphs if g.graph != "appearance")
    assert row.frame.p50_ms >= max(motion.p50_ms, render.p50_ms)
    assert all(g.residency_note for g in row.graphs)
    assert timed.machine.engines.keys() == {"onnxruntime", "numpy"}
    (run,) = timed.sustained
    assert 0.02 < run.seconds < 20
    assert (len(run.minutes), run.notes[0]) == (1, "render alone: a job runs one graph")
    emulated, missing = here.variants
    assert (emulated.skipped, emulated.emulated) == ("qemu:arm64-a53 is emulated: no times", True)
    assert "targets install browser" in missing.skipped
    assert told[0] == "onnx/fp32 on local:onnxruntime"


def test_passes_are_divided_into_the_minutes_that_they_began_in() -> None:
    passes_ms = [400.0] * 3 + [800.0] * 2 + [50.0]  # begin at 0, 0.4, 0.8, 1.2, 2.0 and 2.8 s
    rows = minutes_of(passes_ms, minute_s=1.0)
    assert [(r.minute, r.frames) for r in rows] == [(0, 3), (1, 1), (2, 2)]
    assert rows[1].p50_ms == pytest.approx(800)
    rest = minutes_of([*[500.0] * 4, 20.0], minute_s=1.0)
    assert [r.minute for r in rest] == [0, 1]  # a fiftieth of a minute is none
    assert len(minutes_of([20.0], minute_s=1.0)) == 1


@pytest.mark.usefixtures("nothing_installed")
def test_the_command_writes_a_report_and_holds_it_against_itself(
    tiny_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timings = iter(np.random.default_rng(0).uniform(10, 10.1, 10_000).tolist())
    run = LocalTarget.run

    def steady(self: LocalTarget, job: object) -> None:
        run(self, job)  # type: ignore[arg-type]
        outcome = next(iter(self._outcomes.values()))
        assert outcome.timings is not None
        passes = tuple(next(timings) for _ in outcome.timings.passes_ms)
        vars(outcome)["timings"] = outcome.timings.model_copy(update={"passes_ms": passes})

    monkeypatch.setattr(LocalTarget, "run", steady)
    base, again = tmp_path / "base.json", tmp_path / "again.json"
    common = ["bench", str(tiny_bundle.root), "-v", "onnx/fp32", "-t", "local:onnxruntime,browser"]
    common += ["--rounds", "40", "--warmup", "0"]
    assert main([*common, "--json", str(base)]) == 0
    said = capsys.readouterr().out
    assert "onnx/fp32 on browser: browser: " in said
    report = read_result(base)
    assert [b.variants[0].target for b in report.benches] == ["local:onnxruntime", "browser"]
    assert any("(onnxruntime on local:onnxruntime)" in f.name for f in findings(report))
    assert main([*common, "--baseline", str(base), "--json", str(again)]) == 0
    (regression,) = read_result(again).benches[0].regressions
    assert "not distinguishable" in regression.message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-v", "onnx/fp32", "-t", "local:litert"], "want a target that runs one of onnx/fp32"),
        (["-t", "nowhere"], "target: want one of"),
        (["-t", "local:litert", "--end-to-end"], "want one of --targets and"),
        (["-v", "onnx/fp32", "-t", "browser", "--against", "onnx/fp16"], "want one of --targets"),
    ],
)
def test_what_targets_cannot_be_asked_for_is_bad_input(
    arguments: list[str], message: str, tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny_bundle.root), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_bundle_without_a_variant_for_any_target_is_refused(tiny_bundle: Bundle) -> None:
    choice = Choice.read(tiny_bundle, "coreml/fp32")
    with pytest.raises(InputError, match="want a target that runs one of coreml/fp32"):
        measure_targets([choice], targets_named(["local:litert"]), FEW)
