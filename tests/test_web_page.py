"""The page for a person in a real Chromium: no complaint, pictures drawn, numbers those of ONNX Runtime."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.errors import MissingToolError
from pocketportrait.runtime.codes import relative_code
from pocketportrait.runtime.runner import open_runner
from pocketportrait.runtime.targets.chromium import Chromium, find_chromium
from pocketportrait.runtime.web.portrait_page import portrait_page
from pocketportrait.runtime.web.vendor import browser_home, vendor_folder
from tests.conftest import smooth_pictures

pytestmark = pytest.mark.slow

GATE = 1e-4  # of float32 pictures: validation/tolerance.py
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
READY = "document.body.dataset.ready === 'yes' || document.querySelector('.wrong')"
DRAWN = "Number(document.body.dataset.drawn ?? 0)"
RESULT = """(() => { const c = document.getElementById('result');
  const copy = new OffscreenCanvas(c.width, c.height).getContext('2d', {willReadFrequently: true});
  copy.drawImage(c, 0, 0);
  const d = copy.getImageData(0, 0, c.width, c.height).data;
  return {side: c.width, pixels: [...d]}; })()"""
STEPS = """(async () => {
  const {Session} = await import('/page/session.js');
  const manifest = await (await fetch('/bundle/manifest.json')).json();
  const session = await Session.open(manifest, %s);
  const [photo, one, two] = %s.map((p) => Uint8ClampedArray.from(p));
  await session.setPhoto(photo);
  const images = [await session.step(one), await session.step(two)];
  session.resetNeutral();
  images.push(await session.step(two));
  session.motion = 'absolute';
  images.push(await session.step(one));
  session.close();
  return images.map(({shape, data}) => [shape, btoa(Array.from(
    new Uint8Array(data.buffer), (byte) => String.fromCharCode(byte)).join(''))]); })()"""


def until(condition: str) -> str:
    return (
        f"new Promise(done => {{ const look = () => ({condition})"
        " ? done(true) : setTimeout(look, 50); look(); })"
    )


@pytest.fixture(scope="module")
def page(tiny_bundle: Bundle) -> Iterator[tuple[Chromium, str]]:
    """The open page of the tiny bundle, and its server's address."""
    program = find_chromium(browser_home())
    if program is None:
        pytest.skip("no Chromium here")
    try:
        vendor_folder()
    except MissingToolError as error:
        pytest.skip(str(error))
    with (
        portrait_page(tiny_bundle, threads=1) as server,
        Chromium(program, ["--disable-gpu", *CAMERA]) as browser,
    ):
        browser.open(f"{server.origin}/")
        browser.value(until(READY))
        yield browser, server.origin


def test_a_sample_is_animated_with_its_label_and_without_a_complaint(
    page: tuple[Chromium, str],
) -> None:
    browser, origin = page
    assert browser.complaints == []
    assert browser.value("document.getElementById('runs').textContent").startswith("onnx/fp32 in w")
    browser.value("document.querySelector('#photos button').click()")
    browser.value(until("document.getElementById('status').textContent.startsWith('move')"))
    browser.value("document.querySelector('#drivers button:nth-of-type(2)').click()")
    browser.value(until(f"{DRAWN} >= 3 || document.querySelector('.wrong')"))
    drawn = browser.value(RESULT)
    pixels = np.array(drawn["pixels"]).reshape(drawn["side"], drawn["side"], 4)
    assert drawn["side"] == 64
    assert pixels[: drawn["side"] // 2, :, :3].std() > 5  # a picture
    assert pixels[-1, -20:, :3].max() <= 91  # the label's ground, two thirds black
    assert pixels[-20:, -60:, :3].max() > 200  # its letters
    assert float(browser.value("document.getElementById('ms').textContent")) > 0
    assert browser.complaints == []
    assert {url.partition(":")[0] for url in browser.asked} <= {"http", "blob", "data"}
    assert all(url.startswith(origin) for url in browser.asked if url.startswith("http:"))


def test_the_camera_drives_the_photo(page: tuple[Chromium, str]) -> None:
    browser, _ = page
    before = int(browser.value(DRAWN))
    browser.value("document.querySelector('#photos button').click()")
    browser.value("document.getElementById('camera').click()")
    moved = "document.getElementById('video').srcObject"
    browser.value(
        until(f"({moved} && {DRAWN} >= {before + 3}) || document.querySelector('.wrong')")
    )
    browser.value("document.getElementById('neutral').click()")
    assert browser.value("document.querySelector('.wrong')?.textContent ?? ''") == ""
    assert browser.complaints == []


def test_a_phone_needs_no_sideways_scrolling(page: tuple[Chromium, str]) -> None:
    browser, _ = page
    screen = "Emulation.setDeviceMetricsOverride"
    browser.tell(screen, width=390, height=844, deviceScaleFactor=1, mobile=True)
    root = "document.documentElement"
    assert browser.value(f"{root}.scrollWidth - {root}.clientWidth") <= 0
    browser.tell("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_pictures_are_those_of_onnx_runtime(
    page: tuple[Chromium, str], tiny_bundle: Bundle, format: str
) -> None:
    browser, _ = page
    pictures = [np.rint(p * 255).astype(np.uint8) for p in smooth_pictures(3, 64, seed=5)]
    rgba = [np.dstack([p, np.full((64, 64), 255, np.uint8)]).ravel().tolist() for p in pictures]
    options = {"format": format, "precision": "fp32", "backend": "wasm", "threads": 1}
    found = browser.value(STEPS % (json.dumps(options), json.dumps(rgba)))
    images = [
        np.frombuffer(base64.b64decode(content), np.float32).reshape(shape)
        for shape, content in found
    ]
    if format == "tflite":
        images = [image.transpose(0, 3, 1, 2) for image in images]
    one, two, rest, absolute = images
    wanted = reference(tiny_bundle, *pictures)
    assert np.abs(wanted[0] - wanted[1]).max() > 10 * GATE  # the driver shows
    for got, want in zip((one, two, rest, absolute), wanted, strict=True):
        assert np.abs(got - want).max() <= GATE
    # LiteRT.js asks for a GPU, and warns where there is none, whatever it is to compute on
    assert [c for c in browser.complaints if "adapter" not in c] == []
    browser.complaints.clear()


def reference(bundle: Bundle, photo: Array, one: Array, two: Array) -> list[Array]:
    """Return what ONNX Runtime draws of the steps that the page was asked for."""
    tensors = [(p / np.float32(255)).transpose(2, 0, 1)[None] for p in (photo, one, two)]
    with (
        open_runner(bundle, "onnx", "fp32", "appearance") as appearance,
        open_runner(bundle, "onnx", "fp32", "motion") as motion,
        open_runner(bundle, "onnx", "fp32", "render") as render,
    ):
        features = appearance.infer({"photo": tensors[0]})
        source, first, second = (motion.infer({"frame": t})["code"] for t in tensors)
        codes = (source, relative_code(source, second, first), source, first)
        return [
            render.infer(features | {"source_code": source, "driving_code": code})["image"]
            for code in codes
        ]
