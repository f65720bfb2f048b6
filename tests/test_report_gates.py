"""Portrait gates: a sound variant passes, one that draws worse fails, what cannot be seen is skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, BundleWriter
from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.errors import ExitCode, InputError
from pocketportrait.media.video import VideoWriter
from pocketportrait.validation.checks import Status
from pocketportrait.validation.portrait_faces import FaceReading
from pocketportrait.validation.portrait_gates import (
    MARGINS,
    GateOptions,
    Margin,
    portrait_gates,
)
from pocketportrait.validation.report_record import Report, read_result

Output = pytest.CaptureFixture[str]
FRAMES = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    y, x = np.mgrid[0:256, 0:256] / 40
    with VideoWriter(folder / "one.mkv", (256, 256), lossless=True) as writer:
        for step in range(FRAMES):
            wave = 110 + 60 * np.sin(x + step / 3)[..., None] * np.cos(y[..., None] + np.arange(3))
            writer.write(np.clip(wave + 6 * step, 0, 255).astype(np.uint8))
    return folder


def edited(bundle: Bundle, out: Path, change: Callable[[Path], None]) -> Path:
    """Write a copy of a bundle that was changed before its files were hashed."""
    manifest = bundle.manifest
    with BundleWriter(out) as writer:
        writer.carry_over(bundle)
        change(writer.folder)
        writer.finish(
            graphs=manifest.graphs,
            code_slices=manifest.code_slices,
            golden=manifest.golden,
            tools=manifest.tools,
            licence=manifest.licence,
            model=manifest.model,
        )
    return out


def scale_weights(folder: Path) -> None:
    import onnx
    from onnx import numpy_helper

    path = folder / "onnx/fp16/render.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            scaled = numpy_helper.to_array(tensor) * np.float16(0.8)
            tensor.CopyFrom(numpy_helper.from_array(scaled.astype(np.float16), tensor.name))
    onnx.save(model, path)


class ToneReader:
    """Reads a face off the tone of a picture."""

    def read(self, picture: Array, *, identity: bool = False) -> FaceReading | None:
        level = float(picture.mean())
        who = np.array([1.0, level / 1000])
        return FaceReading(
            np.full((478, 2), level),
            np.full(52, level / 255),
            np.full(3, level),
            who / np.linalg.norm(who) if identity else None,
        )


def options(data: Path, out: Path) -> GateOptions:
    return GateOptions(out=out, data=data, formats=("onnx",), drift_frames=6, threads=1)


def statuses(report: Report) -> dict[str, Status]:
    (gates,) = report.gates
    return {row.figure: row.status for row in gates.rows}


def test_a_variant_that_draws_the_same_passes_every_gate(
    tiny_bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    report = portrait_gates(tiny_bundle.root, options(data, tmp_path), reader=ToneReader())
    (gates,) = report.gates
    assert (gates.reference, gates.clips) == ("onnx/fp32", 1)
    assert {row.variant for row in gates.rows} == {"onnx/fp16"}
    held = statuses(report)
    assert {"akd_px", "csim", "drift_csim", "psnr_to_fp32_db"} <= held.keys()
    assert set(held.values()) == {Status.PASS}
    assert report.exit_code() == ExitCode.DONE
    assert [e.variant for e in report.evaluations] == ["onnx/fp32", "onnx/fp16"]
    (picture,) = report.pictures
    assert (picture.kind, len(picture.images)) == ("worst", 4)


def test_a_variant_that_draws_worse_fails_and_the_figure_is_named(
    tiny_bundle: Bundle, data: Path, tmp_path: Path, capsys: Output
) -> None:
    bad = edited(tiny_bundle, tmp_path / "bad", scale_weights)
    out = tmp_path / "out"
    arguments = ["gates", str(bad), "--data", str(data), "-f", "onnx", "-o", str(out)]
    assert main([*arguments, "--drift-frames", "0", "--threads", "1"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  onnx/fp16        psnr_to_fp32_db" in said
    assert "SKIP  onnx/fp16        akd_px, aed, apd_deg, csim" in said
    held = statuses(read_result(out / "report.json"))
    assert held["psnr_to_fp32_db"] is Status.FAIL
    assert held["akd_px"] is Status.SKIP
    assert "Failed: onnx/fp16 portrait" in (out / "report.html").read_text()
    assert "<failure" in (out / "report.xml").read_text()
    record = json.loads((out / "onnx-fp16" / "evaluation.json").read_text())
    assert record["variant"] == "onnx/fp16"


def test_a_variant_without_an_engine_is_skipped(
    tiny_bundle: Bundle, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketportrait.errors import MissingToolError
    from pocketportrait.validation import portrait_gates as module

    def missing(format: str, runner: str | None = None) -> str:
        raise MissingToolError(f"no engine of {format}")

    monkeypatch.setattr(module, "choose_runner", missing)
    report = portrait_gates(tiny_bundle.root, options(data, tmp_path))
    (row,) = report.gates[0].rows
    assert (row.status, row.message) == (Status.SKIP, "no engine of onnx")
    assert report.exit_code(strict=True) == ExitCode.MISSING_TOOL


def test_bundles_that_have_nothing_to_judge_are_refused(
    tiny_bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    asked = options(data, tmp_path)
    only = GateOptions(out=tmp_path, data=data, formats=("onnx",), precisions=("fp32",))
    with pytest.raises(InputError, match="want a variant beside onnx/fp32"):
        portrait_gates(tiny_bundle.root, only)
    with pytest.raises(InputError, match="want a bundle with an fp32 variant, got onnx/fp16"):
        portrait_gates(None, asked)  # the shipped bundle is fp16 alone
    assert list(tmp_path.iterdir()) == []


def test_margins_widen_to_the_worse_side_only() -> None:
    assert Margin("l1", "at most", share=0.1).bound(0.5, 1.0) == pytest.approx(0.55)
    assert Margin("psnr_db", "at least", more=0.5).bound(20.0, 0.2) == pytest.approx(19.9)
    assert Margin("drift_csim", "at least", share=0.1, more=0.02).bound(-1.0, 1.0) == -1.12
    assert len({m.figure for m in MARGINS}) == len(MARGINS)
