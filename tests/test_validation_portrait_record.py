"""What several clips say together, on paper and on a terminal."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError
from rich.console import Console

from pocketportrait.validation.machine import describe_machine
from pocketportrait.validation.portrait_record import (
    ClipFigures,
    Evaluation,
    Skipped,
    evaluation_schema,
    find_worst,
    summarize,
)
from pocketportrait.validation.portrait_table import print_evaluation

ROOT = Path(__file__).resolve().parent.parent


def clip(
    name: str, l1: float, still: float = 0.1, *, origin: str = "", **more: float
) -> ClipFigures:
    figures = {"l1": l1, "l1_static": still, "missing": 0.0} | more
    return ClipFigures(kind="self", clip=name, origin=origin, frames=9, faces=5, figures=figures)


def record(*clips: ClipFigures, skipped: tuple[Skipped, ...] = ()) -> Evaluation:
    return Evaluation(
        subject="bundle",
        variant="onnx/fp32",
        machine=describe_machine(),
        seconds=1.0,
        clips=clips,
        summaries=summarize(clips),
        worst=find_worst(clips),
        skipped=skipped,
    )


def test_a_ratio_is_that_of_the_means_and_correlations_are_medians() -> None:
    clips = [clip("a", 0.1, 0.1, corr_jaw=0.2), clip("b", 0.1, 0.3, corr_jaw=0.8)]
    (whole,) = summarize([*clips, clip("c", 0.1, 0.2, corr_jaw=0.9)])
    assert whole.clips == 3
    assert whole.ratios == {"l1": pytest.approx(0.5)}
    assert whole.medians == {"corr_jaw": 0.8}
    assert whole.means["corr_jaw"] == pytest.approx(1.9 / 3)


def test_origins_are_told_apart_where_there_are_several() -> None:
    clips = [clip("a", 0.1, origin="footage"), clip("b", 0.3, origin="drawn")]
    found = {s.group: s.means["l1"] for s in summarize(clips)}
    assert found == {"all": pytest.approx(0.2), "footage": 0.1, "drawn": 0.3}
    assert [s.group for s in summarize(clips[:1])] == ["all"]


def test_a_still_clip_has_no_ratio() -> None:
    still = clip("a", 0.1, 0.0)
    assert still.ratio("l1") is None
    assert summarize([still])[0].ratios == {}
    assert find_worst([still]) == ()


def test_the_worst_clips_are_those_with_the_largest_ratio() -> None:
    clips = [clip(name, 0.1, still) for name, still in zip("abcdefg", range(1, 8), strict=True)]
    worst = find_worst(clips)
    assert [w.clip for w in worst] == ["a", "b", "c", "d", "e"]
    assert worst[0].ratio == pytest.approx(0.1)


def test_a_record_keeps_the_published_schema(tmp_path: Path) -> None:
    published = json.loads((ROOT / "docs" / "schemas" / "evaluation-1.json").read_text())
    assert published == evaluation_schema()
    path = tmp_path / "evaluation.json"
    made = record(clip("a", 0.1), skipped=(Skipped(figures=("csim",), reason="no model"),))
    made.to_json(path)
    jsonschema.validate(json.loads(path.read_text()), published)
    assert Evaluation.model_validate_json(path.read_text()) == made


def test_a_figure_is_a_number() -> None:
    with pytest.raises(ValidationError):
        clip("a", float("nan"))


def test_the_table_tells_clips_means_ratios_worst_and_what_is_skipped() -> None:
    said = StringIO()
    made = record(
        clip("one", 0.05, corr_jaw=0.75, drift_l1=0.25),
        clip("two", 0.2),
        skipped=(Skipped(figures=("csim", "aed"), reason="no [models]"),),
    )
    print_evaluation(made, Console(file=said, width=100))
    lines = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert "one 9 0.050 0.00" in lines
    assert "mean, all 2 0.125 0.00" in lines
    assert "repeat the photo 0.100" in lines
    assert "ratio 1.250" in lines
    assert "Self-reenactment, all: medians: corr_jaw 0.750" in lines
    assert "Self-reenactment, all: drift: drift_l1 0.250" in lines
    assert "worst l1 (self, ratio): two 2.00; one 0.50" in lines
    assert "SKIP csim, aed: no [models]" in lines
    assert "CSIM" not in said.getvalue()  # a figure that no clip has is no column
