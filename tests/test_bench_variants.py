"""Measuring variants of the tiny student: processes, records, the command."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.validation import bench_process, bench_worker
from pocketportrait.validation.bench import (
    BenchOptions,
    Choice,
    compare_variants,
    measure_sustained,
    measure_variants,
    read_duration_s,
)
from pocketportrait.validation.bench_budget import STAGES, measure_budget
from pocketportrait.validation.bench_process import Job, VariantProcess
from pocketportrait.validation.bench_record import Timing, VariantBench
from pocketportrait.validation.report_record import read_result

Output = pytest.CaptureFixture[str]
FEW = BenchOptions(rounds=20, warmup=1, threads=1)


def job(bundle: Bundle, **more: object) -> Job:
    facts = {"format": "onnx", "precision": "fp32", "runner": "onnxruntime", "threads": 1} | more
    return Job(bundle=str(bundle.root), **facts)  # type: ignore[arg-type]


def test_a_worker_answers_every_command(tiny_bundle: Bundle) -> None:
    commands = [["photos", 2], ["frames", 3], ["process"], ["residency"]]
    answers = io.StringIO()
    asked = io.StringIO("".join(json.dumps(c) + "\n" for c in commands))
    told = {"bundle": str(tiny_bundle.root), "format": "onnx", "precision": "fp32"}
    assert bench_worker.serve(told | {"runner": "onnxruntime", "threads": 1}, asked, answers) == 0
    facts, photos, frames, process, units = map(json.loads, answers.getvalue().splitlines())
    assert set(facts["graphs"]) == set(GRAPHS)
    assert all(g["load_ms"] > 0 and g["first_ms"] > 0 for g in facts["graphs"].values())
    assert (len(photos), len(frames)) == (2, 3)
    assert all(len(f) == 2 and min(f) > 0 for f in frames)
    assert set(process) == {"peak_rss_bytes", "process_threads"}
    assert units["render"]["residency"][0]["unit"] == "CPU"
    assert units["render"]["residency"][0]["operators"] > 50


def test_litert_tells_its_partitions(tiny_bundle: Bundle) -> None:
    units, note = bench_worker.residency_of(tiny_bundle.file("tflite/fp32/motion.tflite"), "litert")
    assert note == ""
    assert [u.unit for u in units] == ["XNNPACK"]  # the student delegates whole
    assert bench_worker.residency_of(Path("x"), "oracle")[1].startswith("oracle does not tell")


def test_a_variant_is_measured_in_a_process_and_an_emulated_one_never(tiny_bundle: Bundle) -> None:
    names = ("onnx/fp32", "coreml/fp16@oracle")
    timed, emulated = measure_variants([Choice.read(tiny_bundle, n) for n in names], FEW)
    assert timed.frame is not None
    assert (timed.frame.repeats, timed.frame.warmup, len(timed.frame_ms)) == (20, 1, 20)
    assert [g.graph for g in timed.graphs] == list(GRAPHS)
    assert timed.frame == Timing.of(timed.frame_ms).model_copy(update={"warmup": 1})
    assert timed.import_ms is not None
    assert timed.import_ms > 0
    assert (emulated.emulated, emulated.frame, emulated.frame_ms) == (True, None, ())
    assert "no latency" in emulated.skipped


def test_a_record_refuses_the_latency_of_an_emulation() -> None:
    timing = Timing.of([1.0, 2.0])
    with pytest.raises(ValidationError, match="its times are no latency"):
        VariantBench(bundle="b", variant="v", runner="oracle", emulated=True, frame=timing)
    with pytest.raises(ValidationError, match="want times, or the reason"):
        VariantBench(bundle="b", variant="v", runner="r")


def test_two_variants_take_turns(tiny_bundle: Bundle) -> None:
    one = Choice.read(tiny_bundle, "onnx/fp32")
    (a, b), comparison = compare_variants(one, one, FEW)
    assert len(a.frame_ms) == len(b.frame_ms) == comparison.rounds == 20
    assert (comparison.a, comparison.b) == ("onnx/fp32", "onnx/fp32 again")
    with pytest.raises(InputError, match="only evaluated here"):
        compare_variants(one, Choice.read(tiny_bundle, "coreml/fp32@oracle"), FEW)


def test_a_sustained_run_has_a_row_a_minute(tiny_bundle: Bundle) -> None:
    one = Choice.read(tiny_bundle, "onnx/fp32")
    found = measure_sustained(one, 1.0, FEW, minute_s=0.4)
    assert len(found.minutes) >= 2
    assert [m.minute for m in found.minutes] == list(range(len(found.minutes)))
    assert all(m.frames > 0 and m.p50_ms <= m.p95_ms for m in found.minutes)
    assert found.slowdown == found.minutes[-1].p50_ms / found.minutes[0].p50_ms
    with pytest.raises(InputError, match="want a second at least"):
        measure_sustained(one, 0.1, FEW)


def test_a_budget_has_every_stage_from_file_to_file(tiny_bundle: Bundle) -> None:
    found = measure_budget(Choice.read(tiny_bundle, "onnx/fp32"), FEW)
    assert [s.stage for s in found.stages] == list(STAGES)
    assert found.frames == 20
    assert all(s.timing.p50_ms > 0 for s in found.stages)
    assert found.total.p50_ms > max(s.timing.p50_ms for s in found.stages)
    with pytest.raises(InputError, match="want a variant that this machine can time"):
        measure_budget(Choice.read(tiny_bundle, "coreml/fp32@oracle"), FEW)


def test_a_broken_file_is_one_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle.root, tmp_path / "bundle")
    (tmp_path / "bundle" / "onnx/fp32/motion.onnx").write_bytes(b"no")
    process = VariantProcess(Job(str(tmp_path / "bundle"), "onnx", "fp32", "onnxruntime", 1))
    with pytest.raises(InputError, match=r"motion\.onnx"):
        process.__enter__()


def test_a_process_that_dies_is_told(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    monkeypatch.setattr(bench_process, "WORKER", "this")  # prints verses and ends
    with pytest.raises((InputError, ValueError)):
        VariantProcess(job(tiny_bundle)).__enter__()
    monkeypatch.setattr(bench_process, "WORKER", "pocketportrait.nowhere")
    with pytest.raises(InputError, match=r"its process ended with 1: .*nowhere"):
        VariantProcess(job(tiny_bundle)).__enter__()


def test_a_missing_engine_is_a_missing_tool(tiny_bundle: Bundle) -> None:
    with pytest.raises(MissingToolError):
        measure_sustained(Choice.read(tiny_bundle, "coreml/fp32@coreml"), 1.0, FEW)
    (row,) = measure_variants([Choice.read(tiny_bundle, "coreml/fp32@coreml")], FEW)
    assert row.skipped


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800.0), ("90s", 90.0), ("1h", 3600.0), ("12", 12.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sustained", "soon"], "duration: want such as 30m"),
        (["-v", "fp32"], "want FORMAT/PRECISION"),
        (["-v", "onnx/w9"], "w9"),
        (["--rounds", "3"], "want 20 rounds at least"),
        (["--against", "onnx/fp32"], "want one variant as A"),
        (["--baseline", "none.json"], "none.json: want a record"),
        (["--report", "r.pdf"], "r.pdf: want a name that ends in"),
    ],
)
def test_bad_usage_is_one_line(
    tiny_bundle: Bundle, capsys: Output, arguments: list[str], words: str
) -> None:
    assert main(["bench", str(tiny_bundle.root), *arguments]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert words in line


def test_the_command_writes_a_baseline_and_is_held_to_it(
    tiny_bundle: Bundle, tmp_path: Path, capsys: Output
) -> None:
    kept = tmp_path / "kept.json"
    arguments = ["bench", str(tiny_bundle.root), "-v", "onnx/fp32", "--rounds", "100"]
    assert main([*arguments, "--threads", "1", "--json", str(kept)]) == 0
    assert "onnx/fp32 (onnxruntime)" in capsys.readouterr().out
    record = json.loads(kept.read_text())
    row = record["benches"][0]["variants"][0]
    row["frame_ms"] = [v / 10_000 for v in row["frame_ms"]]  # it was once 10,000 times as fast
    kept.write_text(json.dumps(record))
    places = ["--report", str(tmp_path / "r.html"), "--junit", str(tmp_path / "j.xml")]
    more = ["--threads", "1", "--baseline", str(kept), *places]
    (bench,) = read_result(kept).benches
    assert bench.variants[0].threads == 1
    code = main([*arguments, *more])
    said = capsys.readouterr().out
    assert "against the baseline" in said or "the baseline: " in said
    (status,) = {w for w in ("FAIL", "WARN") if w in said}
    assert code == (1 if status == "FAIL" else 0)  # a busy machine may be too noisy to tell
    assert ("<failure" in (tmp_path / "j.xml").read_text()) == (status == "FAIL")
    assert "slower" in (tmp_path / "r.html").read_text() or status == "WARN"
