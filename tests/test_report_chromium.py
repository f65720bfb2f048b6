"""The page in a real Chromium: no complaint on its console, pictures drawn, figures those of the JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pocketportrait.runtime.targets.chromium import Chromium, find_chromium
from pocketportrait.runtime.web.vendor import browser_home
from pocketportrait.validation.report import write_report
from tests.report_samples import full_report
from tests.test_report_forms import agree, pointed

IMAGES = """Promise.all([...document.images].map(async image => {
  await image.decode(); return [image.naturalWidth, image.naturalHeight, image.width > 0]; }))"""
FIGURES = """[...document.querySelectorAll('[data-from]')].map(
  cell => [cell.dataset.from, Number(cell.dataset.scale ?? 1), cell.textContent])"""
PLOTS = """[...document.querySelectorAll('svg')].map(plot => {
  const box = plot.getBoundingClientRect(), ink = plot.getBBox();
  return [box.width, box.height, ink.width, ink.height]; })"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chromium, Any]]:
    program = find_chromium(browser_home())
    if program is None:
        pytest.skip("no Chromium here; run: pocketportrait targets install browser")
    folder = tmp_path_factory.mktemp("chromium")
    report = full_report(folder / "bundle")
    write_report(report, folder / "r.html")
    write_report(report, folder / "r.json")
    with Chromium(program, ["--disable-gpu"]) as browser:
        browser.open((folder / "r.html").as_uri())
        yield browser, json.loads((folder / "r.json").read_text())


def test_nothing_is_complained_about_and_nothing_fetched(opened: tuple[Chromium, Any]) -> None:
    browser, _ = opened
    assert browser.complaints == []
    assert {url.partition(":")[0] for url in browser.asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in browser.asked) == 1


def test_pictures_are_drawn(opened: tuple[Chromium, Any]) -> None:
    browser, record = opened
    wanted = [
        [image["width"], image["height"], True]
        for picture in record["pictures"]
        for image in picture["images"]
    ]
    assert sorted(browser.value(IMAGES)) == sorted(wanted)
    plots = browser.value(PLOTS)
    assert len(plots) == 4
    assert all(min(sizes) >= 16 for sizes in plots), plots  # a bar is 16 px high


def test_figures_are_those_of_the_json(opened: tuple[Chromium, Any]) -> None:
    browser, record = opened
    figures = browser.value(FIGURES)
    assert len(figures) > 60
    for source, scale, shown in figures:
        assert agree(shown, pointed(record, source) * scale), (source, shown)


def test_a_phone_needs_no_sideways_scrolling(opened: tuple[Chromium, Any]) -> None:
    browser, _ = opened
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.tell("Emulation.setDeviceMetricsOverride", **metrics)
    assert browser.value(WIDER) <= 0
    browser.tell("Emulation.clearDeviceMetricsOverride")


def test_the_page_keeps_its_figures_on_paper(opened: tuple[Chromium, Any]) -> None:
    browser, _ = opened
    printed = browser.tell("Page.printToPDF")["data"]
    assert printed.startswith("JVBERi0")  # %PDF-
