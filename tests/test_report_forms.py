"""One record, many forms: page, Markdown, CSV and JUnit say the same."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pocketportrait.errors import InputError
from pocketportrait.validation.bench_table import print_bench
from pocketportrait.validation.checks import Status
from pocketportrait.validation.report import write_report
from pocketportrait.validation.report_record import Report
from pocketportrait.validation.report_text import gate_lines
from tests.report_samples import OTHER, bench, compared, full_report, gates, verification

VOID = ("meta", "br", "img")
DRAWN = ("rect", "line", "circle", "polyline")


class Page(HTMLParser):
    """Elements that were opened and closed, pictures, and figures with their places."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.figures: list[tuple[str, float, str]] = []
        self.drawn: list[str] = []
        self._from: tuple[str, float] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.images.append(found)
        elif tag not in VOID:
            self.open.append(tag)
        if source := found.get("data-from"):
            self._from = source, float(found.get("data-scale") or 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawn.append(tag)
        assert all(value is not None and "nan" not in value for _, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._from:
            self.figures.append((*self._from, data))
            self._from = None


def pointed(record: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        record = record[int(step)] if isinstance(record, list) else record[step]
    return record


def agree(shown: str, value: float) -> bool:
    """Say whether a figure is shown as its value, to the digits that are shown."""
    digits = len(shown.partition(".")[2].partition("e")[0])
    least = max(10.0**-digits, 10.0**-2 * abs(value) if "e" in shown or digits == 0 else 0)
    return abs(float(shown) - value) <= least


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return full_report(tmp_path_factory.mktemp("report") / "bundle")


def written(report: Report, tmp_path: Path, suffix: str) -> str:
    write_report(report, tmp_path / f"r{suffix}")
    return (tmp_path / f"r{suffix}").read_text()


def test_the_page_is_whole_and_fetches_nothing(report: Report, tmp_path: Path) -> None:
    text = written(report, tmp_path, ".html")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.images) == 2 + 4
    assert all(
        i["alt"] and str(i["src"]).startswith("data:image/webp;base64,") for i in page.images
    )
    assert not re.search(r"https?://|<script|<link|@import|\burl\(|\$", text)
    for words in (
        "A &lt;demo&gt;",
        "A &lt;b&gt; &amp; C",
        "float32 &lt;as trained&gt;",
        "one &amp; two",
        "x&lt;y",
        "Verified: all 2 outputs",
        "1 portrait figures keep theirs",
        "XNNPACK 7",
        "exact",
    ):
        assert words in text
    assert {tag: page.drawn.count(tag) for tag in DRAWN} == {
        "rect": 1 + 1 + 2,  # a variant, the band of no difference, two stages
        "line": 1 + 3 + 1,
        "circle": 2,
        "polyline": 2,
    }


def test_every_figure_of_the_page_is_that_of_the_record(report: Report, tmp_path: Path) -> None:
    page = Page()
    page.feed(written(report, tmp_path, ".html"))
    record = json.loads(written(report, tmp_path, ".json"))
    assert len(page.figures) > 60
    for source, scale, shown in page.figures:
        assert agree(shown, pointed(record, source) * scale), (source, shown)


def test_a_failed_report_says_so_first(tmp_path: Path) -> None:
    failed = Report(verifications=(verification(compared(1.0, 3.0)),), gates=(gates(Status.FAIL),))
    text = written(failed, tmp_path, ".html")
    said = "Failed: onnx/fp32 render, onnx/w8a8 portrait psnr_db"
    assert f'<span class="FAIL">{said}</span>' in text
    assert "Nothing was timed." in text
    assert f"**{said}**" in written(failed, tmp_path, ".md")


def test_markdown_tables_have_as_many_cells_as_heads(report: Report, tmp_path: Path) -> None:
    both = report.model_copy(update={"benches": (*report.benches, bench(OTHER))})
    text = written(both, tmp_path, ".md")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 1 + 2 * 3 + 1 + 1
    for rows in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in rows.splitlines()}
        assert len(cells) == 1
    assert "slower, 1.123 x (99%: 1.087 to 1.162)" in text
    assert "SKIP bench: bundle coreml/fp16 (oracle): x&lt;y" in text


def test_csv_has_one_figure_a_line_and_nothing_that_a_spreadsheet_runs(
    report: Report, tmp_path: Path
) -> None:
    both = report.model_copy(update={"benches": (*report.benches, bench(OTHER))})
    rows = list(csv.DictReader(io.StringIO(written(both, tmp_path, ".csv"))))
    assert {row["record"] for row in rows} == {
        *("verify golden", "verify run", "bench", "gates", "evaluate")
    }
    frame = [r for r in rows if (r["part"], r["figure"]) == ("frame", "p50_ms")]
    assert report.benches[0].variants[0].frame is not None
    assert float(frame[0]["value"]) == report.benches[0].variants[0].frame.p50_ms
    assert {r["machine"][:7] for r in frame} == {"A <b> &", "'=Phone"}
    assert all(not value.startswith(("=", "@", "+")) for row in rows for value in row.values())
    (skipped,) = [r for r in rows if r["figure"] == "csim"]
    assert (skipped["value"], skipped["status"]) == ("", "SKIP")


def test_junit_counts_everything_that_was_judged(report: Report, tmp_path: Path) -> None:
    failed = report.model_copy(update={"gates": (gates(Status.FAIL),)})
    root = ET.fromstring(written(failed, tmp_path, ".xml"))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("8", "1", "3")
    assert "bundle onnx/w8a8" in {suite.get("name") for suite in root}


def test_other_forms_are_refused(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.pdf: want a name that ends in \.json, \.html"):
        write_report(report, tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_on_a_terminal_shows_all_of_it() -> None:
    text = io.StringIO()
    print_bench(bench(), Console(file=text, width=120))
    for words in (
        "A <b> & C, 2 cores",
        "SKIP coreml/fp16: x<y",
        "XNNPACK 7",
        "150 MiB, 3 threads",
        "frames/s",
        "41.5",
        "PASS onnx/fp32 (onnxruntime): held",
        "slower, 1.123 x",
    ):
        assert words in text.getvalue()


def test_gates_on_a_terminal_name_a_reason_once() -> None:
    lines = list(gate_lines(Report(gates=(gates(),))))
    assert lines == [
        "PASS  onnx/w8a8        psnr_db          19.88 at least 19.62 (fp32 20.12)",
        "SKIP  onnx/w8a8        csim: no --score-models",
    ]


def test_variants_by_targets_are_shown_with_the_output_nearest_to_its_gate(tmp_path: Path) -> None:
    there = [
        compared(2e-6, 110.0, tensor=f"t{number}", target="qemu:arm64-a53") for number in range(60)
    ]
    here = compared(1e-6, 120.0, target="local:onnxruntime")
    away = compared(0.0, 0.0, target="ssh:pi").model_copy(
        update={"status": Status.SKIP, "max_abs": None, "psnr_db": None, "message": "not reachable"}
    )
    report = Report(title="T", verifications=(verification(here, *there, away),))
    text = written(report, tmp_path, ".html")
    record = json.loads(written(report, tmp_path, ".json"))
    page = Page()
    page.feed(text)
    assert page.open == []
    assert '<p class="verdict"><span class="SKIP">' in text  # not run is not passed
    assert text.count("<details>") == 1  # 61 outputs in all
    for word in ("PASS", "SKIP"):
        assert f'<td class="{word}">{word}</td>' in text
    nearest = [f for f in page.figures if f[0] == "/verifications/0/checks/1/max_abs"]
    assert [shown for _, _, shown in nearest] == ["2e-06"] * 2  # among all outputs, and its cell's
    for source, scale, shown in page.figures:
        assert agree(shown, pointed(record, source) * scale), (source, shown)
    grid = written(report, tmp_path, ".md")
    assert "| onnx/fp32 | PASS | PASS | SKIP |" in grid


def test_what_was_only_measured_does_not_look_passed(tmp_path: Path) -> None:
    report = Report(title="T", benches=(bench(),))
    text = written(report, tmp_path, ".html")
    assert "onnx/w8a8 is slower than onnx/fp32" in text
    assert '<p class="verdict"><span class="PASS">' not in text
