"""The commands, through `main` as a user calls them, on the tiny student."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.media.credentials import read_credentials
from pocketportrait.media.samples import sample_drivers, sample_photos

if TYPE_CHECKING:
    from pocketportrait.models.student import Student

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def weights(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pocketportrait.models.weights import save_student

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_student(tiny_student, path, facts={"licence": "research only", "steps": "3"})
    return path


def test_animate_streams_the_samples_through_a_bundle(
    tiny_bundle: Bundle, tmp_path: Path, capsys: Output
) -> None:
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    arguments = [
        "animate",
        "--bundle",
        str(tiny_bundle.root),
        "-o",
        str(out),
        "--json",
        str(report),
    ]
    assert main(arguments) == 0
    assert out.stat().st_size > 0
    said = capsys.readouterr().out
    assert "100 frames" in said
    assert "ms a frame" in said
    assert f"video: {out}" in said
    assert json.loads(report.read_text())["schema_version"] == 1


def test_an_evaluator_is_not_timed(tiny_bundle: Bundle, tmp_path: Path, capsys: Output) -> None:
    photo, driver = sample_photos()[1], sample_drivers()[1]
    arguments = ["animate", str(photo), str(driver), "--no-crop", "--bundle", str(tiny_bundle.root)]
    assert main([*arguments, "-f", "coreml", "-p", "fp16", "-o", str(tmp_path / "out.mp4")]) == 0
    said = capsys.readouterr().out
    assert "coreml/fp16, oracle, evaluated, so not timed" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["animate", "nobody.jpg"], "nobody.jpg"),
        (["animate", "--format", "tf"], "tf"),
        (["animate", "--precision", "w8"], "w8"),
        (["verify", "nowhere"], "nowhere: want a bundle"),
        (["export", "--weights", "none.safetensors"], "none.safetensors: want a weights file"),
        (["label", "nowhere"], "nowhere: want a folder with clips"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tiny_bundle: Bundle, refusal: Callable[[list[str]], str], arguments: list[str], words: str
) -> None:
    if arguments[0] == "animate":
        arguments = [*arguments, "--bundle", str(tiny_bundle.root)]
    assert words in refusal(arguments)


@pytest.mark.slow
def test_export_writes_a_bundle_that_verifies(
    weights: Path, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "bundle.zip"
    arguments = ["export", "--weights", str(weights), "-o", str(out), "-f", "onnx", "--golden", "2"]
    assert main(arguments) == 0
    assert "onnx/fp16" in capsys.readouterr().out
    assert main(["verify", str(out), "--strict"]) == 0
    with Bundle.open(out) as bundle:
        assert bundle.manifest.licence == "research only"
        assert bundle.manifest.model["steps"] == "3"
        assert len(bundle.manifest.golden["render"]) == 2


@pytest.mark.slow
def test_demo_goes_the_whole_way(weights: Path, tmp_path: Path, capsys: Output) -> None:
    assert main(["demo", "--weights", str(weights), "-o", str(tmp_path / "demo")]) == 0
    page = (tmp_path / "demo" / "report.html").read_text()
    assert page.count('<figure class="card">') == len(sample_photos())
    assert "Verified: all 30 outputs" in page
    for variant in ("onnx/fp32", "tflite/fp16", "coreml/fp16"):
        assert variant in page
    films = list((tmp_path / "demo").glob("*.mp4"))
    assert len(films) == len(sample_photos())
    for film in films:
        made = read_credentials(film)
        assert made is not None
        assert made.is_ours
        assert made.origin is not None
        assert made.origin["consent"]
    assert f"report: {tmp_path / 'demo' / 'report.html'}" in capsys.readouterr().out
