"""Instructions of a frame as an objective: what counts, what is refused, and what is counted once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.quantize import counting
from pocketportrait.quantize.counting import InstructionCounter, counting_target
from pocketportrait.runtime.targets.protocol import Job, Outcome, TargetError
from pocketportrait.runtime.targets.registry import target_named

SPACE: dict[str, Any] = {
    "name": "counted",
    "objectives": ["psnr_db", "frame_instructions"],
    "counted_on": "qemu:arm64-a53",
    "base": {"scheme": "fp32"},
    "choices": [{"name": "body", "graph": "motion", "schemes": ["w8", "fp32"]}],
}


def search(tiny_bundle: Bundle, folder: Path, *more: str, **changed: object) -> int:
    (folder / "space.json").write_text(json.dumps(SPACE | changed))
    arguments = ["sweep", str(folder / "space.json"), "--bundle", str(tiny_bundle.root)]
    return main([*arguments, "-o", str(folder / "study"), *more])


def test_a_target_that_is_not_installed_is_told_before_any_trial(
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_TARGETS", str(tmp_path / "none"))
    assert search(tiny_bundle, tmp_path) == 3
    assert "pocketportrait targets install qemu-arm64" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("name", "format"), [("local:litert", "tflite"), ("qemu:arm64", "coreml"), ("nowhere", "onnx")]
)
def test_targets_that_count_nothing_of_the_format_are_refused(name: str, format: str) -> None:
    with pytest.raises(InputError, match="want"):
        counting_target(name, format)


def test_a_file_is_counted_once_and_a_silent_target_is_no_zero(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    costs: dict[str, int | None] = {"motion": 5, "render": 70}

    def count(target: object, job: Job) -> Outcome:
        asked.append(job.graph.name)
        cost = costs[job.graph.name]
        return Outcome("t", True, {}, None, cost=cost, cost_note="no counter")  # type: ignore[arg-type]

    monkeypatch.setattr(counting, "execute", count)
    counter = InstructionCounter(target_named("qemu:arm64"))
    assert [counter.of_frame(tiny_bundle, "onnx", "fp32") for _ in range(2)] == [75, 75]
    assert asked == ["motion", "render"]
    costs["render"] = None
    with pytest.raises(TargetError, match="want instructions, got none: no counter"):
        counter.of_frame(tiny_bundle, "tflite", "fp32")


@pytest.mark.slow
def test_a_search_counts_on_an_emulated_cpu(tiny_bundle: Bundle, tmp_path: Path) -> None:
    if reason := target_named("qemu:arm64-a53").probe().reason:
        pytest.skip(reason)
    assert search(tiny_bundle, tmp_path, "-n", "2", "--pick", "psnr_db>=20") == 0
    record = json.loads((tmp_path / "study" / "pareto.json").read_text())
    counts = [trial["figures"]["frame_instructions"] for trial in record["trials"]]
    assert all(count > 1e6 for count in counts)
    assert len(set(counts)) == 2  # unpacking the weights costs instructions
    assert record["counted_on"] == "qemu:arm64-a53"
    assert "instructions a frame" in (tmp_path / "study" / "picked.toml").read_text()
