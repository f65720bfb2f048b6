"""`verify` on the tiny student's bundle, whole and with faults that only numbers can tell."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pocketportrait.bundle import Bundle, BundleWriter
from pocketportrait.cli import main
from pocketportrait.contract import image_spec
from pocketportrait.errors import ExitCode, InputError, MissingToolError
from pocketportrait.runtime.runner import open_file
from pocketportrait.runtime.targets import local
from pocketportrait.validation.checks import Status
from pocketportrait.validation.latency import measure_variant
from pocketportrait.validation.samples import golden_samples, random_picture
from pocketportrait.validation.verify import verify

if TYPE_CHECKING:
    from pocketportrait.models.student import Student

VARIANTS = [(f, p) for f in ("onnx", "tflite", "coreml") for p in ("fp32", "fp16")]


def test_a_sound_bundle_passes_in_every_format(tiny_bundle: Bundle) -> None:
    said: list[str] = []
    report = verify(tiny_bundle, tell=said.append)
    assert report.of(Status.FAIL, Status.WARN, Status.SKIP) == ()
    assert said[0] == "onnx/fp32"
    assert sorted(said) == sorted("/".join(v) for v in VARIANTS)
    for format, precision in VARIANTS:
        kinds = {c.kind for c in report.checks if c.variant == f"{format}/{precision}"}
        fresh = set() if (format, precision) == ("onnx", "fp32") else {"fresh"}
        assert kinds == {"specs", "golden", "repeat"} | fresh
    assert len(report.worst()) == len(VARIANTS) * 5  # outputs of the three graphs


def test_only_what_was_asked_for_is_run(tiny_bundle: Bundle) -> None:
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"])
    assert {c.variant for c in report.checks} == {"bundle", "onnx/fp32"}
    with pytest.raises(InputError, match=r"holds .*onnx/fp32.*got \['w8'\]"):
        verify(tiny_bundle, precisions=["w8"])


def test_a_format_without_a_runner_is_skipped_and_strict_says_so(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_litert(path: Path, format: str, **options: Any) -> Any:
        if format == "tflite":
            raise MissingToolError.for_extra("ai-edge-litert", "litert")
        return open_file(path, format, **options)

    monkeypatch.setattr(local, "open_file", without_litert)
    report = verify(tiny_bundle, formats=["onnx", "tflite"], precisions=["fp32"])
    skipped = report.of(Status.SKIP)
    assert [(c.variant, c.graph) for c in skipped] == [
        ("tflite/fp32", graph) for graph in ("appearance", "motion", "render")
    ]
    assert "pip install" in skipped[0].message
    assert report.exit_code() is ExitCode.DONE
    assert report.exit_code(strict=True) is ExitCode.MISSING_TOOL


def test_an_engine_that_crashes_is_a_failed_check(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("segment 7\nis broken")

    monkeypatch.setattr(local, "open_file", crashing)
    report = verify(tiny_bundle, formats=["onnx"], precisions=["fp32"])
    assert {c.message for c in report.of(Status.FAIL)} == {"RuntimeError: segment 7"}
    assert report.exit_code() is ExitCode.GATE_FAILED


def test_a_variant_that_no_target_runs_is_skipped_and_never_passes(tiny_bundle: Bundle) -> None:
    targets = [local.local_target("onnxruntime")]
    report = verify(tiny_bundle, precisions=["fp32"], formats=["onnx", "tflite"], targets=targets)
    (skipped,) = report.of(Status.SKIP)
    assert (skipped.variant, skipped.target) == ("tflite/fp32", "")
    assert "no target here runs tflite" in skipped.message
    assert {c.target for c in report.checks if c.variant == "onnx/fp32"} == {"local:onnxruntime"}
    assert [t.device is not None for t in report.targets] == [True]
    assert report.exit_code(strict=True) is ExitCode.MISSING_TOOL


def changed(bundle: Bundle, out: Path, change: Callable[[Path], None], **facts: Any) -> Path:
    """Write a copy of a bundle that was changed before its files were hashed."""
    manifest = bundle.manifest
    with BundleWriter(out) as writer:
        writer.carry_over(bundle)
        change(writer.folder)
        kept = {
            "graphs": manifest.graphs,
            "code_slices": manifest.code_slices,
            "golden": manifest.golden,
            "tools": manifest.tools,
            "licence": manifest.licence,
            "model": manifest.model,
        }
        writer.finish(**(kept | facts))
    return out


def test_a_bundle_without_golden_vectors_does_not_pass(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = changed(tiny_bundle, tmp_path / "b", lambda _: None, golden={})
    with Bundle.open(path) as bundle:
        report = verify(bundle, formats=["onnx"])
    assert {c.graph for c in report.of(Status.FAIL)} == {"appearance", "motion", "render"}


def test_golden_vectors_that_cannot_tell_source_from_driver_are_doubted(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    def make_equal(folder: Path) -> None:
        file = folder / "golden" / "render-0.safetensors"
        tensors = load_file(file)
        save_file(tensors | {"driving_code": tensors["source_code"]}, file)

    with Bundle.open(changed(tiny_bundle, tmp_path / "b", make_equal)) as bundle:
        report = verify(bundle, formats=["onnx"], precisions=["fp32"])
    assert [c.sample for c in report.of(Status.WARN) if c.kind == "golden"] == ["golden-0"]


def flip_a_weight(student: Student) -> str:
    """Flip the sign of the largest weight of a middle conv."""
    import torch

    convolutions = [m for m in student.motion.modules() if isinstance(m, torch.nn.Conv2d)]
    weight = convolutions[len(convolutions) // 2].weight.detach().view(-1)
    weight[weight.abs().argmax()] *= -1
    return "motion"


def shift_half_a_pixel(student: Student) -> str:
    """Read the features half a pixel beside their place."""
    from torch import Tensor, nn

    class Shifted(nn.Module):
        def __init__(self, warp: nn.Module) -> None:
            super().__init__()
            self.warp = warp

        def forward(self, f: Tensor, fields: Tensor) -> Tensor:
            shifted: Tensor = self.warp(f, fields + 0.5)
            return shifted

    student.render.warp = Shifted(student.render.warp).eval()  # type: ignore[assignment]
    return "render"


def swap_channels(student: Student) -> str:
    """Take the photo as BGR."""
    import torch

    appearance = student.appearance
    with torch.no_grad():
        for convolution in (appearance.stem[0], appearance.detail):
            convolution.weight.copy_(convolution.weight.flip(1))  # type: ignore[operator, arg-type]
    return "appearance"


FAULTS = {"sign": flip_a_weight, "half a pixel": shift_half_a_pixel, "channels": swap_channels}


def write_graph(student: Student, graph: str, format: str, precision: str, path: Path) -> None:
    from pocketportrait.export.to_coreml import to_coreml
    from pocketportrait.export.to_onnx import to_onnx
    from pocketportrait.export.to_tflite import to_tflite
    from pocketportrait.models.dims import graph_specs

    if path.is_dir():
        shutil.rmtree(path)
    write = {"onnx": to_onnx, "tflite": to_tflite, "coreml": to_coreml}[format]
    write(getattr(student, graph), graph_specs(student.dims)[graph], path, precision=precision)


CASES = [
    pytest.param(*variant, fault, marks=[] if variant == ("onnx", "fp32") else pytest.mark.slow)
    for variant in VARIANTS
    for fault in (FAULTS if variant[1] == "fp32" else ["sign"])  # half precision has one other gate
]


@pytest.mark.parametrize(("format", "precision", "fault"), CASES)
def test_a_planted_fault_is_caught_by_numbers_alone(
    tiny_bundle: Bundle,
    tiny_student: Student,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    format: str,
    precision: str,
    fault: str,
) -> None:
    faulty = copy.deepcopy(tiny_student)
    graph = FAULTS[fault](faulty)
    file = tiny_bundle.variant(format, precision).graphs[graph].path
    path = changed(
        tiny_bundle,
        tmp_path / "b",
        lambda f: write_graph(faulty, graph, format, precision, f / file),
    )
    Bundle.open(path).close()  # hashes agree
    arguments = ["verify", str(path), "-f", format, "-p", precision]
    capfd.readouterr()
    status = main(
        [*arguments, "--json", str(tmp_path / "v.json"), "--junit", str(tmp_path / "v.xml")]
    )
    assert status == 1
    assert f"FAIL {format}/{precision} {graph} " in capfd.readouterr().out
    checks = json.loads((tmp_path / "v.json").read_text())["checks"]
    blamed = {(c["variant"], c["graph"]) for c in checks if c["status"] == "FAIL"}
    assert blamed == {(f"{format}/{precision}", graph)}
    assert '<failure message="' in (tmp_path / "v.xml").read_text()


def test_fresh_pictures_are_pictures_and_the_same_for_everybody() -> None:
    spec = image_spec("photo", 192)
    picture = random_picture(spec, seed=3)
    spec.check(picture)
    assert np.array_equal(picture, random_picture(spec, seed=3))
    assert not np.array_equal(picture, random_picture(spec, seed=4))
    assert 0.1 < picture.std() < 0.3


def test_golden_vectors_are_checked_against_the_contract(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    def brighten(folder: Path) -> None:
        file = folder / "golden" / "motion-0.safetensors"
        tensors = load_file(file)
        save_file(tensors | {"frame": tensors["frame"] * np.float32(255)}, file)

    with (
        Bundle.open(changed(tiny_bundle, tmp_path / "b", brighten)) as bundle,
        pytest.raises(InputError, match=r"pixels are 0\.\.1, not 0\.\.255"),
    ):
        list(golden_samples(bundle, "motion"))


def test_a_variant_can_be_timed(tiny_bundle: Bundle) -> None:
    latency = measure_variant(tiny_bundle, "onnx", "fp32", "onnxruntime", warmup=1, repeats=3)
    assert latency.frame_ms == latency.motion.p50_ms + latency.render.p50_ms > 0
    assert (latency.variant, latency.render.repeats) == ("onnx/fp32", 3)


def test_one_variant_is_held_to_fresh_pictures_too(tiny_bundle: Bundle) -> None:
    report = verify(tiny_bundle, formats=["tflite"], precisions=["fp16"])
    assert {c.variant for c in report.checks} == {"bundle", "tflite/fp16"}
    assert "fresh" in {c.kind for c in report.checks}
