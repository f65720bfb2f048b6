"""A bundle in, a bundle with a variant more out: what files hold, what is caught, what resumes."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.media.video import VideoWriter
from pocketportrait.quantize import laboratory
from pocketportrait.quantize.calibration import CalibrationFrame, CalibrationSet
from pocketportrait.quantize.comparison import Compared, compare
from pocketportrait.quantize.coreml_backend import (
    measure_ranges,
    narrow_to_activations,
    own_palette,
)
from pocketportrait.quantize.coreml_graph import CoremlOperation, read_coreml
from pocketportrait.quantize.laboratory import Quantized, quantize_bundle
from pocketportrait.quantize.layers import read_layers
from pocketportrait.quantize.onnx_ranges import unsigned_scale
from pocketportrait.quantize.plan import GraphPlan, Setting, make_plan
from pocketportrait.quantize.read_back import differences, read_back
from pocketportrait.quantize.recipe import Recipe, Rule, static_w8a8, weights_w8
from pocketportrait.quantize.weights import quantize_weight
from pocketportrait.validation.checks import Status
from pocketportrait.validation.samples import golden_samples
from pocketportrait.validation.verify import verify

HIDDEN = ("eighth", "deep.0", "deep.1", "eighth_again", "quarter_again")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration set of four frames of one clip, as a manifest."""
    folder = tmp_path_factory.mktemp("calibration")
    with VideoWriter(folder / "one.mp4", (64, 64), threads=1) as writer:
        for shift in range(0, 30, 6):
            y, x = np.mgrid[0:64, 0:64]
            waves = [np.sin((x + shift) / (5 + c)) * np.cos(y / (7 - c)) for c in range(3)]
            writer.write((127 + 100 * np.stack(waves, -1)).astype(np.uint8))
    digest = sha256_of(folder / "one.mp4")
    frames = tuple(CalibrationFrame(clip="one.mp4", sha256=digest, frame=k) for k in range(1, 5))
    CalibrationSet(name="one", folder=".", frames=frames).write(folder / "set.json")
    return folder / "set.json"


@pytest.fixture(scope="module")
def integers(
    tiny_bundle: Bundle, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Quantized]:
    out = tmp_path_factory.mktemp("quantized") / "bundle"
    result = quantize_bundle(
        tiny_bundle.root, static_w8a8(), out, formats=("onnx", "tflite"), calibration=clips
    )
    with result.bundle:
        yield result


def plan_of(bundle: Bundle, recipe: Recipe) -> dict[str, GraphPlan]:
    files = bundle.variant("onnx", "fp32").graphs
    layers = {graph: read_layers(bundle.file(files[graph].path)) for graph in GRAPHS}
    return make_plan(recipe, layers, ("onnx",))


def test_files_are_what_the_recipe_says_in_both_formats(integers: Quantized) -> None:
    assert integers.differences == ()
    for format in ("onnx", "tflite"):
        render = integers.facts[format][2]
        assert {layer.name for layer in render.layers if layer.integer} == {
            *("blocks.0.first", "blocks.0.second", "up_half", "mix", "up_full"),
            *("guide", "refine.0", "flow.down", "flow.up_eighth", "flow.up_quarter"),
            *(f"flow.{b}.{c}" for b in HIDDEN for c in ("first", "second")),
        }
        assert all(layer.weight_bits == 8 for layer in render.layers)


def test_the_manifest_keeps_recipe_set_and_what_was_read(integers: Quantized) -> None:
    variant = integers.bundle.variant("onnx", "w8a8")
    assert Recipe.model_validate(variant.quantization["recipe"]) == static_w8a8()
    assert variant.quantization["calibration"]["frames"] == 4
    assert "flow.head" in variant.quantization["read_back"]["render"]["float_layers"]
    assert (variant.weights, variant.activations) == ("int8", "int8")
    assert integers.bundle.variant("onnx", "fp32").graphs  # what was there is still there


def test_the_formats_agree_and_stay_near_float(integers: Quantized) -> None:
    """Random weights: 20 dB says that nothing is broken; trained ones are measured in benchmarks/."""
    rows = compare([integers.bundle.root], formats=("onnx", "tflite"))
    found: dict[str, Compared] = {one.variant: one for one in rows}
    assert found["onnx/fp32"].quality_db == float("inf")
    assert found["onnx/w8a8"].quality_db > 20
    assert abs(found["onnx/w8a8"].quality_db - found["tflite/w8a8"].quality_db) < 6
    assert found["onnx/w8a8"].bytes < found["onnx/fp32"].bytes


def test_a_file_of_floats_that_claims_int8_is_caught(tiny_bundle: Bundle) -> None:
    source = tiny_bundle.file("onnx/fp32/motion.onnx")
    plan = plan_of(tiny_bundle, static_w8a8())["motion"]
    found = differences(read_back(source, source, plan), plan)
    assert "motion body.1.0: want weights of 8 bits, the file holds 32" in found
    assert any("want it to compute in integers, the file computes in float" in f for f in found)


def test_a_planted_float_file_is_no_success(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lazy(source: Path, spec: object, plan: object, feeds: object, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(source, path))

    monkeypatch.setitem(laboratory.BACKENDS, "onnx", lazy)
    result = quantize_bundle(tiny_bundle.root, weights_w8(), tmp_path / "out", formats=("onnx",))
    with result.bundle as bundle:
        assert any("the file holds 32" in line for line in result.differences)
        assert bundle.variant("onnx", "w8").quantization["differences"] == list(result.differences)


def test_a_killed_run_goes_on_where_it_stood(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = laboratory.BACKENDS["onnx"], []

    def dies_at_render(*arguments: object) -> Path:
        if arguments[4].name == "render.onnx" and len(made) == 2:  # type: ignore[attr-defined]
            made.append("killed")
            raise KeyboardInterrupt
        made.append(arguments[4].name)  # type: ignore[attr-defined]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setitem(laboratory.BACKENDS, "onnx", dies_at_render)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        quantize_bundle(tiny_bundle.root, weights_w8(), out, formats=("onnx",))
    assert not out.exists()
    quantize_bundle(tiny_bundle.root, weights_w8(), out, formats=("onnx",)).bundle.close()
    assert made == ["appearance.onnx", "motion.onnx", "killed", "render.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_calibration_is_asked_for_before_any_work(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add --calibration"):
        quantize_bundle(tiny_bundle.root, static_w8a8(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_core_ml_obeys_the_same_recipe(tiny_bundle: Bundle, clips: Path, tmp_path: Path) -> None:
    result = quantize_bundle(
        tiny_bundle.root, static_w8a8(), tmp_path / "out", formats=("coreml",), calibration=clips
    )
    with result.bundle as bundle:
        assert result.differences == ()
        found = {one.variant: one for one in compare([bundle.root], formats=("coreml",))}
        assert found["coreml/w8a8"].quality_db > 20
        assert found["coreml/w8a8"].frame_ms is None  # an evaluator's time is no latency


def test_core_ml_spends_no_steps_on_what_an_activation_cuts_off() -> None:
    def operation(kind: str, taken: str, given: str) -> CoremlOperation:
        return CoremlOperation(kind, given, (taken,), (given,), "fp32", None)

    operations = [
        operation("conv", "x", "a"),
        operation("clip", "a", "b"),
        operation("conv", "b", "c"),
        operation("relu", "c", "d"),
        operation("add", "c", "e"),  # c is used as it is, too
    ]
    measured = {"a": (-20.0, 14.0), "b": (0.0, 6.0), "c": (-3.0, 2.0), "d": (0.0, 2.0)}
    ranges = {name: {"rmin": low, "rmax": high} for name, (low, high) in measured.items()}
    narrow_to_activations(ranges, operations)
    assert ranges["a"] == {"rmin": 0.0, "rmax": 6.0}
    assert ranges["c"] == {"rmin": -3.0, "rmax": 2.0}


@pytest.mark.slow
def test_core_ml_palettes_hold_six_bits(tiny_bundle: Bundle, tmp_path: Path) -> None:
    recipe = Recipe(name="palette6", scheme="palette6")
    result = quantize_bundle(tiny_bundle.root, recipe, tmp_path / "out", formats=("coreml",))
    with result.bundle as bundle:
        assert result.differences == ()
        report = verify(bundle, formats=["coreml"], precisions=["palette6"])
    # a weight of four numbers is among them, which k-means with 64 colours turned upside down
    assert report.of(Status.FAIL) == ()


def test_a_weight_of_few_numbers_is_its_own_palette() -> None:
    weight = np.array([[1, 0, -0.5], [0, 0, 1]], np.float32)
    colours, indices = own_palette(weight)
    assert (colours.size, indices.dtype) == (64, np.uint8)
    assert np.array_equal(colours[indices].reshape(weight.shape), weight)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_packed_weight_is_within_half_a_step(granularity: str, symmetric: bool) -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    setting = dataclasses.replace(Setting("w8"), granularity=granularity, symmetric=symmetric)
    packed = quantize_weight(weight, setting)
    scale = packed.scale.reshape(-1, 1, 1, 1)
    zero = 0 if packed.zero_point is None else packed.zero_point.astype(int).reshape(-1, 1, 1, 1)
    again = (packed.values.astype(int) - zero) * scale
    assert np.all(np.abs(again - weight) <= scale * 0.51)


def test_unsigned_scales_hold_zero_exactly() -> None:
    scale, zero = unsigned_scale(-1.0, 3.0)
    assert (scale, zero) == (4 / 255, 64)
    assert unsigned_scale(0.0, 0.0) == (1.0, 0)


def test_four_bits_are_four_bits_in_both_formats(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """And each runtime computes from them what the rounded weights say."""
    rules = (Rule(graph="motion", layers=r"body\.[1-3]\..*", scheme="w4"),)
    recipe = Recipe(name="four", scheme="fp32", rules=rules)
    result = quantize_bundle(tiny_bundle.root, recipe, tmp_path / "out", formats=("onnx", "tflite"))
    with result.bundle as bundle:
        assert result.differences == ()
        bits = bundle.variant("onnx", "four").quantization["read_back"]["motion"]["weight_bits"]
        assert (bits["body.1.0"], bits["body.0.0"]) == (4, 32)
        found = {one.variant: one for one in compare([bundle.root], formats=("onnx", "tflite"))}
        assert 20 < found["onnx/four"].quality_db < 80
        assert found["onnx/four"].quality_db == pytest.approx(
            found["tflite/four"].quality_db, abs=0.5
        )


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_full_disk_is_told_and_nothing_is_left(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """While a file is written, and while the bundle is put together."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left on device"):
            quantize_bundle(tiny_bundle.root, weights_w8(), out, formats=(format,))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(InputError, match="No space left on device"):
            quantize_bundle(tiny_bundle.root, weights_w8(), out, formats=(format,))
    assert not out.exists()
    visible = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".out.w8-")]
    assert visible == []  # what is finished waits for the next run
    quantize_bundle(tiny_bundle.root, weights_w8(), out, formats=(format,)).bundle.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("level", "words"), [(127, "everywhere"), (None, "clips of the train")])
def test_spoilt_and_scored_clips_are_refused_by_the_whole_run(
    tiny_bundle: Bundle, tmp_path: Path, level: int | None, words: str
) -> None:
    """A clip of one colour, and one whose hash is listed as scored."""
    folder = tmp_path / "clips"
    folder.mkdir()
    with VideoWriter(folder / "a.mp4", (64, 64), threads=1) as writer:
        for shift in range(3):
            noise = np.random.default_rng(shift).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            writer.write(np.full((64, 64, 3), level, np.uint8) if level else noise)
    split = "train" if level else "val"
    listed = {"clips": [{"sha256": sha256_of(folder / "a.mp4"), "split": split}]}
    (tmp_path / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=words):
        quantize_bundle(
            tiny_bundle.root,
            static_w8a8(),
            tmp_path / "out",
            formats=("onnx",),
            calibration=tmp_path,
        )
    assert not (tmp_path / "out").exists()


def test_ranges_of_layers_are_extremes_and_of_what_is_made_from_them_means(
    tiny_bundle: Bundle,
) -> None:
    package = tiny_bundle.file(tiny_bundle.variant("coreml", "fp32").graphs["motion"].path)
    operations = read_coreml(package)
    feeds = [sample.feed for sample in golden_samples(tiny_bundle, "motion")]
    assert len(feeds) > 1
    layer = next(op.outputs[0] for op in operations if op.weight is not None)
    apart = [measure_ranges(package, operations, [feed]) for feed in feeds]
    together = measure_ranges(package, operations, feeds, {layer})
    for name, found in together.items():
        lows, highs = ([one[name][side] for one in apart] for side in ("rmin", "rmax"))
        low, high = (min(lows), max(highs)) if name == layer else (np.mean(lows), np.mean(highs))
        assert found == pytest.approx({"rmin": low, "rmax": high})
    assert together[layer]["rmax"] > np.mean([one[layer]["rmax"] for one in apart])
