"""Sensitivity: one layer at a time, and what its record, chart and overlay say."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.errors import InputError
from pocketportrait.media.video import VideoWriter
from pocketportrait.quantize.charts import Dot, scatter_plot
from pocketportrait.quantize.judging import Portrait
from pocketportrait.quantize.recipe import Recipe, weights_w8
from pocketportrait.quantize.sensitivity import block_of, measure_sensitivity, sensitivity_schema

ROOT = Path(__file__).parents[1]
ROUGH = Recipe.model_validate(
    {
        "name": "rough",
        "scheme": "fp32",
        "rules": [
            {"graph": "motion", "layers": r"body\.[01]\.0", "scheme": "w8"},
            {"graph": "motion", "layers": r"body\.1\.0", "scheme": "w8", "granularity": "tensor"},
            {"graph": "render", "layers": "mix|paint", "scheme": "w8"},
        ],
    }
)


def test_blocks_are_the_first_two_parts_of_a_path() -> None:
    names = ["blocks.0.first", "flow.deep.1.film", "flow.head", "up_half", "body.3.body.0.0"]
    assert [block_of(n) for n in names] == ["blocks.0", "flow.deep", "flow", "up_half", "body.3"]


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((ROOT / "docs/schemas/sensitivity-1.json").read_text())
    assert published == sensitivity_schema()


def test_each_layer_is_measured_alone_and_drawn(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rough.json").write_text(ROUGH.to_json())
    out = tmp_path / "out"
    arguments = ["sensitivity", str(tiny_bundle.root), "-r", str(tmp_path / "rough.json")]
    assert main([*arguments, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["graph", "layers", "scheme", "MMAC", "dB", "dB", "lost"]
    record = json.loads((out / "sensitivity.json").read_text())
    rows = {(row["graph"], row["name"]): row["figures"] for row in record["rows"]}
    assert set(rows) == {
        ("motion", "body.0.0"),
        ("motion", "body.1.0"),
        ("render", "mix"),
        ("render", "paint"),
    }
    assert all(0 < figures["lost_db"] < 40 for figures in rows.values())
    lost = [row["figures"]["lost_db"] for row in record["rows"]]
    assert lost == sorted(lost, reverse=True)
    chart = ElementTree.fromstring((out / "sensitivity.svg").read_text())
    assert sum("motion body" in (e.text or "") for e in chart.iter()) == 2
    overlay = json.loads((out / "model_explorer-render.json").read_text())
    assert {v["value"] for v in overlay["results"].values()} == {
        round(rows["render", name]["lost_db"], 4) for name in ("mix", "paint")
    }


def test_portrait_figures_are_measured_where_clips_are_given(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    with VideoWriter(tmp_path / "a.mkv", (256, 256), lossless=True) as writer:
        for step in range(3):
            y, x = np.mgrid[0:256, 0:256] / 40
            wave = 110 + 60 * np.sin(x + step)[..., None] * np.cos(y[..., None] + np.arange(3))
            writer.write(wave.astype(np.uint8))
    facts = {"file": "a.mkv", "identity": "a", "origin": "footage", "split": "val"}
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": [facts]}))
    recipe = ROUGH.model_copy(update={"rules": ROUGH.rules[-1:]})
    found = measure_sensitivity(
        tiny_bundle.root, recipe, tmp_path / "out", unit="block", portrait=Portrait(tmp_path)
    )
    for row in found.rows:
        assert {"l1", "psnr_db"} <= row.figures.portrait_lost.keys()
        assert "akd_px" not in row.figures.portrait_lost  # no face models were given
        assert row.figures.portrait_lost["psnr_db"] != 0


def test_a_recipe_of_floats_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    floats = Recipe.model_validate({"name": "floats", "scheme": "fp32"})
    with pytest.raises(InputError, match="want layers that are not fp32"):
        measure_sensitivity(tiny_bundle.root, floats, tmp_path)
    with pytest.raises(InputError, match="want some of appearance, motion, render, got paint"):
        measure_sensitivity(tiny_bundle.root, weights_w8(), tmp_path, graphs=["paint"])


def test_a_plot_joins_the_front(tmp_path: Path) -> None:
    drawn = scatter_plot("a & b", "bytes", "dB", [Dot(1, 2, "0", True), Dot(2, 1, "1", False)])
    root = ElementTree.fromstring(drawn)
    assert sum(e.tag.endswith("circle") for e in root.iter()) == 2
    assert drawn == scatter_plot(
        "a & b", "bytes", "dB", [Dot(1, 2, "0", True), Dot(2, 1, "1", False)]
    )
