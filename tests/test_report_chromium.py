"""The page in a real Chromium: no complaint on its console, pictures drawn, figures those of the JSON.

Chromium is driven over its own pipe (`--remote-debugging-pipe`), so that no package is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketportrait.validation.report import write_report
from tests.report_samples import full_report
from tests.test_report_forms import agree, pointed

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, NAMES)), None)
SETTLED = """new Promise(done => {
  const look = () => document.readyState === 'complete' ? done(true) : setTimeout(look, 50); look(); })"""
IMAGES = """Promise.all([...document.images].map(async image => {
  await image.decode(); return [image.naturalWidth, image.naturalHeight, image.width > 0]; }))"""
FIGURES = """[...document.querySelectorAll('[data-from]')].map(
  cell => [cell.dataset.from, Number(cell.dataset.scale ?? 1), cell.textContent])"""
PLOTS = """[...document.querySelectorAll('svg')].map(plot => {
  const box = plot.getBoundingClientRect(), ink = plot.getBBox();
  return [box.width, box.height, ink.width, ink.height]; })"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason=f"none of {', '.join(NAMES)} is on the path"),
]


class Chromium:
    """A headless Chromium that is told what to do line by line."""

    def __init__(self, profile: Path) -> None:
        assert FOUND
        command = [FOUND, "--headless=new", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-sandbox"]
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()

        def place() -> None:  # Chromium reads descriptor 3 and writes 4
            os.dup2(commands_out, 10)
            os.dup2(answers_in, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        with (profile / "said").open("wb") as said:
            self._process = subprocess.Popen(
                command, preexec_fn=place, close_fds=False, stdout=said, stderr=said
            )
        os.close(commands_out)
        os.close(answers_in)
        self.events: list[dict[str, Any]] = []
        self._number, self._rest, self._session = 0, b"", ""

    def open(self, page: Path) -> None:
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")
        self.tell("Page.navigate", url=page.as_uri())
        self.value(SETTLED)

    def value(self, expression: str) -> Any:
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.tell("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def tell(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        command: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self.events.append(message)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._answers, 1 << 16)
            assert read, "Chromium ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def close(self) -> None:
        os.close(self._commands)  # the end of its pipe ends it
        os.close(self._answers)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chromium, Any]]:
    folder = tmp_path_factory.mktemp("chromium")
    report = full_report(folder / "bundle")
    write_report(report, folder / "r.html")
    write_report(report, folder / "r.json")
    (folder / "profile").mkdir()
    browser = Chromium(folder / "profile")
    try:
        browser.open(folder / "r.html")
        yield browser, json.loads((folder / "r.json").read_text())
    finally:
        browser.close()


def test_nothing_is_complained_about_and_nothing_fetched(opened: tuple[Chromium, Any]) -> None:
    browser, _ = opened
    bad = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert [e for e in browser.events if e["method"] in bad] == []
    asked = [
        e["params"]["request"]["url"]
        for e in browser.events
        if e["method"] == "Network.requestWillBeSent"
    ]
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == 1


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
