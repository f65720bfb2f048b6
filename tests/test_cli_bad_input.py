"""What cannot be used is refused by the commands in one line, with exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from android_demo.check.tiny_bundle import write_tiny_bundle
from pocketportrait.cli import main
from pocketportrait.media.samples import sample_drivers, sample_photos

if TYPE_CHECKING:
    from pocketportrait.models.student import Student

Refusal = Callable[[list[str]], str]


class _Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.touched}",)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    photo, driver = sample_photos()[0].read_bytes(), sample_drivers()[0]
    (folder / "empty").touch()
    (folder / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "text.jpg").write_text("no photo\n" * 99)
    noise = np.random.default_rng(0).integers(100, 120, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noface.png")
    (folder / "cut.mp4").write_bytes(driver.read_bytes()[:20_000])
    with av.open(str(folder / "sound.mp4"), "w") as film:
        stream = film.add_stream("aac", rate=48_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), "fltp", "mono")
        sound.rate = 48_000
        film.mux([*stream.encode(sound), *stream.encode(None)])
    with av.open(str(folder / "header.mp4"), "w") as film:
        picture = film.add_stream("h264", rate=25)
        picture.width = picture.height = 64
        film.start_encoding()
    with av.open(str(folder / "short.mp4"), "w") as film:
        picture = film.add_stream("h264", rate=25)
        picture.width = picture.height = 256
        frame = av.VideoFrame.from_ndarray(np.full((256, 256, 3), 120, np.uint8), format="rgb24")
        film.mux([*picture.encode(frame), *picture.encode(None)])
    (folder / "evil").write_bytes(pickle.dumps(_Evil(folder / "touched")))
    return folder


@pytest.fixture
def refused(inputs: Path, refusal: Refusal) -> Refusal:
    """Return `refusal` that looks at the folder of the inputs too."""

    def refuse(arguments: list[str]) -> str:
        before = sorted(inputs.rglob("*"))
        line = refusal(arguments)
        assert sorted(inputs.rglob("*")) == before
        return line

    return refuse


def _animate(photo: Path, driver: Path, *more: str) -> list[str]:
    return ["animate", str(photo), str(driver), "--consent", "a test", "-o", "out.mp4", *more]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody.jpg", "want a photo, got no such file; check the path"),
        (".", "want a photo file, got a folder; name a file in it"),
        ("empty", "want a photo, got an empty file; copy it again"),
        ("cut.jpg", "want a whole photo, got a damaged one"),
        ("text.jpg", "want a photo (JPEG, PNG, WebP, ...), got another kind of file"),
        ("evil", "want a photo (JPEG, PNG, WebP, ...), got another kind of file"),
        ("noface.png", "want a photo with a face, got none that can be found; take another"),
    ],
)  # fmt: skip
def test_photos(inputs: Path, refused: Refusal, name: str, words: str) -> None:
    line = refused(_animate(inputs / name, sample_drivers()[0]))
    assert line.startswith(f"error: {inputs / name}: {words}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.mp4", "want a video, got no such file; check the path"),
        ("empty", "want a video, got an empty file; copy it again"),
        ("text.jpg", "want a video"),
        ("evil", "want a video"),
        ("sound.mp4", "want a video"),
        ("header.mp4", "want a video"),
        ("cut.mp4", "want a video"),
    ],
)
def test_videos(inputs: Path, refused: Refusal, name: str, words: str) -> None:
    line = refused(_animate(sample_photos()[0], inputs / name))
    assert line.startswith(f"error: {inputs / name}: {words}")


def test_consent_is_kept_beside_a_photo_that_performed(inputs: Path, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.jpg", tmp_path / "out.mp4"
    photo.write_bytes(sample_photos()[0].read_bytes())
    arguments = ["animate", str(photo), str(inputs / "short.mp4"), "--no-crop", "-o", str(out)]
    assert main([*arguments, "--consent", "me, to a test"]) == 0
    record = json.loads((tmp_path / "photo.jpg.consent.json").read_text())
    assert record["consent"] == "me, to a test"


def _changed_manifest(**changes: Any) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text())
        (bundle / "manifest.json").write_text(json.dumps(manifest | changes))

    return change


def _changed_byte(bundle: Path) -> None:
    path = bundle / "onnx" / "fp32" / "render.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_changed_byte, "onnx/fp32/render.onnx"),
        (lambda b: (b / "onnx" / "fp32" / "motion.onnx").unlink(), "onnx/fp32/motion.onnx"),
        (lambda b: (b / "manifest.json").unlink(), "manifest.json"),
        (_changed_manifest(schema_version=99), "schema_version"),
        (_changed_manifest(files={"../out": {"bytes": 1, "sha256": "0" * 64}}), "../out"),
        (lambda b: (b / "manifest.json").write_text("{"), "manifest.json"),
    ],
    ids=["byte", "file", "manifest", "schema", "outside", "json"],
)
@pytest.mark.parametrize("command", ["verify", "animate", "bench"])
def test_bundles(
    refusal: Refusal,
    tmp_path_factory: pytest.TempPathFactory,
    change: Callable[[Path], object],
    words: str,
    command: str,
) -> None:
    bundle = tmp_path_factory.mktemp("spoilt") / "bundle"
    write_tiny_bundle(bundle)
    change(bundle)
    arguments = [command, str(bundle)]
    if command == "animate":
        arguments = _animate(sample_photos()[0], sample_drivers()[0], "--bundle", str(bundle))
    assert words in refusal(arguments)


@pytest.mark.parametrize("name", ["bomb", "outside", "none"])
def test_archives(refusal: Refusal, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("archives") / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
        if name == "bomb":
            archive.writestr("zeros", bytes(20 << 20))
        if name == "outside":
            archive.writestr("../../evil", "x")
    if name == "none":
        path.write_text("no archive")
    assert str(path) in refusal(["verify", str(path)])
    assert not (path.parents[2] / "evil").exists()


@pytest.fixture(scope="module")
def weights(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pocketportrait.models.weights import save_student

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_student(tiny_student, path, facts={"licence": "research only"})
    return path


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("shape", "want shape ("),
        ("lacks", "weights are missing, first ["),
        ("more", "unknown weights, first ['another']"),
        ("nan", "want finite weights, got NaN or infinity"),
        ("facts", "want pocketportrait-student-1, got 'no format'"),
        ("pickle", "want "),
        ("cut", "want "),
    ],
)
def test_weights(refusal: Refusal, weights: Path, inputs: Path, fault: str, words: str) -> None:
    with safe_open(weights, "np") as file:
        facts, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    name = next(k for k, value in tensors.items() if value.ndim == 4)
    spoilt = weights.with_name("spoilt.safetensors")
    if fault == "pickle":
        spoilt.write_bytes((inputs / "evil").read_bytes())
    elif fault == "cut":
        spoilt.write_bytes(weights.read_bytes()[:1000])
    else:
        value = tensors.pop(name) if fault == "lacks" else tensors[name]
        tensors |= {
            "shape": {name: value[:1]},
            "more": {"another": value},
            "nan": {name: np.full_like(value, np.nan)},
        }.get(fault, {})
        save_file(tensors, spoilt, None if fault == "facts" else facts)
    line = refusal(["export", "--weights", str(spoilt), "--out", "out"])
    assert spoilt.name in line
    assert words in line
    assert not (inputs / "touched").exists()
