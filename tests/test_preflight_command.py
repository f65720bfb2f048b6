"""`pocketportrait preflight`: exit codes, reports, and what it says of wrong calls."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pocketportrait.cli import main
from pocketportrait.validation.preflight.check import preflight
from pocketportrait.validation.preflight.report import preflight_schema
from pocketportrait.validation.preflight.shown import lines
from pocketportrait.validation.preflight.targets import EVIDENCE
from tests.preflight_net import Net

ROOT = Path(__file__).resolve().parent.parent
HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
SOUND = HEAD + "g (float[1,3,8,8] x) => (float[1,3,8,8] y) { y = Relu(x) }"
DOUBTFUL = HEAD + (
    "g (float[1,3,8,8] x) => (float[1,3,16,16] y) {"
    " s = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()\n"
    ' y = Resize<mode = "nearest">(x, , s) }'
)
BAD = HEAD + (
    "g (float[1,3,8,8] x, float[1,8,8,2] grid) => (float[1,3,8,8] y)"
    ' { y = GridSample<mode = "linear">(x, grid) }'
)


def saved(text: str, path: Path) -> str:
    import onnx

    onnx.save(onnx.parser.parse_model(text), path)
    return str(path)


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        (SOUND, [], 0),
        (SOUND, ["--strict"], 0),
        (DOUBTFUL, [], 0),
        (DOUBTFUL, ["--strict"], 1),
        (BAD, [], 1),
        (BAD, ["--for", "ort-xnnpack"], 0),  # a warning there
    ],
)
def test_errors_fail_and_warnings_only_if_strict(
    text: str, options: list[str], status: int, tmp_path: Path
) -> None:
    assert main(["preflight", saved(text, tmp_path / "m.onnx"), *options]) == status


def test_a_finding_names_node_reason_rewrite_and_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", saved(BAD, tmp_path / "m.onnx"), "--for", "coreml-ane"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  coreml-ane  m.onnx" in out
    assert "ERROR grid-sample: coreml-ane: m.onnx y (GridSample): samples at computed places" in out
    assert "rewrite: predict one displacement field per axis" in out
    assert "https://github.com/apple/coremltools/issues/1875" in out
    assert "m.onnx: 1 error in" in out


def test_reports_follow_the_published_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    published = json.loads((ROOT / "docs/schemas/preflight-1.json").read_text())
    assert published == preflight_schema()
    model, report = saved(BAD, tmp_path / "m.onnx"), tmp_path / "p.json"
    arguments = ["--for", "webgpu,coreml-ane", "--json", str(report)]
    assert main(["preflight", model, *arguments, "--junit", str(tmp_path / "p.xml")]) == 1
    record = json.loads(report.read_text())
    jsonschema.validate(record, published)
    assert [(f["rule"], f["target"]) for f in record["findings"]] == [
        ("grid-sample", "webgpu"),
        ("grid-sample", "coreml-ane"),
    ]
    suites = ET.parse(tmp_path / "p.xml").getroot()
    assert (suites.get("failures"), suites.get("tests")) == ("2", str(2 * len(record["rules"])))
    failed = [case for case in suites.iter("testcase") if case.find("failure") is not None]
    assert {case.get("name") for case in failed} == {"grid-sample"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.onnx"], "nothing there"),
        (["m.onnx", "--for", "litert-gpu,toaster"], "got toaster"),
        (["m.onnx", "--for", ","], "got none"),
        (["m.txt"], "want a bundle"),
        (["m.tflite", "--for", "ort-nnapi"], "ort-nnapi runs onnx files, got m.tflite"),
    ],
)
def test_a_wrong_call_is_bad_input_and_says_what_to_do(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved(SOUND, tmp_path / "m.onnx")
    for name in ("m.txt", "m.tflite"):
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    assert main(["preflight", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_core_install_is_told_which_extra_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(SOUND, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["preflight", model]) == 3
    assert 'pip install "pocketportrait[export]"' in capsys.readouterr().err


def test_a_finding_cites_the_list_of_its_own_target(tmp_path: Path) -> None:
    net = Net(x=(1, 2, 4, 4))
    path = net.save(tmp_path / "n.onnx", net.LeakyRelu("x", alpha=0.1))
    report = preflight(path, "ort-nnapi")
    (see,) = [line for line in lines(report) if line.startswith("  see:")]
    assert see == f"  see: {EVIDENCE['ort-nnapi']}"
