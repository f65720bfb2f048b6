"""A real Chromium that hangs, crashes or is killed ends in an error that says so; a page is locked in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketportrait.runtime.targets.chromium import Chromium, find_chromium
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.web.server import LocalServer
from pocketportrait.runtime.web.vendor import browser_home

pytestmark = pytest.mark.slow

INLINE = """(() => { const script = document.createElement('script');
  script.textContent = 'window.ran = 1'; document.body.append(script); return window.ran ?? 0; })()"""
ELSEWHERE = """new Promise(done => {
  addEventListener('securitypolicyviolation', event => done(event.effectiveDirective), {once: true});
  fetch('http://127.0.0.1:9/').then(() => done('reached'), () => 0); })"""


@pytest.fixture
def browser() -> Iterator[Chromium]:
    program = find_chromium(browser_home())
    if program is None:
        pytest.skip("no Chromium here")
    with Chromium(program, ["--disable-gpu"]) as found:
        yield found


def test_it_answers_and_its_profile_is_gone_afterwards(browser: Chromium) -> None:
    profile = Path(browser._profile)
    browser.open("about:blank")
    assert browser.value("Promise.resolve([6 * 7, navigator.webdriver])") == [42, True]
    with pytest.raises(TargetError, match="TypeError: null has no"):
        browser.value("(() => { throw new TypeError('null has no face'); })()")
    browser.__exit__(None, None, None)
    assert not profile.exists()
    browser.__enter__()  # for the fixture to end


def test_a_page_that_hangs_is_given_up(browser: Chromium) -> None:
    browser.open("about:blank")
    with pytest.raises(TargetError, match="want an answer within 1 s, got none"):
        browser.value("for (;;) {}", timeout_s=1)


def test_a_page_that_crashes_is_noticed_at_once(browser: Chromium) -> None:
    browser.open("about:blank")
    with pytest.raises(TargetError, match="the page died"):
        browser.tell("Page.crash", timeout_s=60)


def test_a_browser_that_is_killed_is_noticed_at_once(browser: Chromium) -> None:
    browser.open("about:blank")
    os.killpg(browser._process.pid, signal.SIGKILL)
    with pytest.raises(TargetError, match="Chromium ended"):
        browser.value("1", timeout_s=60)


def test_a_page_runs_no_foreign_script_and_reaches_no_other_server(browser: Chromium) -> None:
    with LocalServer({}, home="job.html") as server:
        browser.open(f"{server.origin}/")
        assert browser.value("crossOriginIsolated") is True
        assert browser.value(INLINE) == 0
        assert browser.value(ELSEWHERE) == "connect-src"
        assert all(url.startswith((server.origin, "data:")) for url in browser.asked)
