"""Every reader of files from strangers, as a function that may raise our own errors and nothing else.

`tests/test_fuzz.py` gives each a few mutated seeds, `acceptance/fuzz.py` a minute of them.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pocketportrait.bundle import Bundle, Manifest
from pocketportrait.bundle.intake import check_model
from pocketportrait.errors import PortraitError
from pocketportrait.media.consent import recorded_consent, sidecar_of
from pocketportrait.media.photo_decoding import decode_photo
from pocketportrait.media.sound_decoding import copy_sound
from pocketportrait.media.video_decoding import VideoDecoding, plain_frames
from pocketportrait.quantize.recipe import parse_recipe
from pocketportrait.runtime.targets.adb import platform_of
from pocketportrait.runtime.targets.adb_client import AdbClient, told
from pocketportrait.runtime.targets.benchmark_model import parse_benchmark_model
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.targets.record import ResultRecord
from pocketportrait.validation.report_record import read_result

CORPUS = Path(__file__).parent / "corpus"
MOST_FRAMES = 20  # of a mutated video; headers may promise any number
SPLICES = (
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"../",
    b"[[[[",
    b'"',
    b"\n",
    b"-1",
)


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of some bytes: at a part of their length, replaced, put in or taken out."""

    kind: str
    where: float  # 0..1
    data: bytes

    def apply(self, content: bytes) -> bytes:
        """Return the changed bytes."""
        place = int(self.where * len(content))
        if self.kind == "cut":
            return content[:place]
        if self.kind == "insert":
            return content[:place] + self.data + content[place:]
        if self.kind == "drop":
            return content[:place] + content[place + len(self.data) :]
        return content[:place] + self.data + content[place + len(self.data) :]


KINDS = ("replace", "replace", "replace", "insert", "drop", "cut")


def mutated(seed: bytes, edits: Sequence[Edit]) -> bytes:
    """Return a seed after some edits."""
    for edit in edits:
        seed = edit.apply(seed)
    return seed


def random_edits(source: random.Random) -> list[Edit]:
    """Return a few edits."""
    edits = []
    for _ in range(source.choice((1, 1, 2, 4, 8))):
        data = source.choice((*SPLICES, source.randbytes(1), source.randbytes(4)))
        edits.append(Edit(source.choice(KINDS), source.random(), data))
    return edits


def seeds(target: str) -> list[Path]:
    """Return the saved files of a target: good ones to begin with, and bad ones that were once found."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


def photo(path: Path) -> None:
    """What `read_photo` does in its process."""
    assert decode_photo(path).ndim == 3


def video(path: Path) -> None:
    """What `VideoReader` and `plain_frames` do in their processes."""
    decoding = VideoDecoding(path)
    for frame in itertools.islice(decoding.frames(), MOST_FRAMES):
        assert frame.rgb.shape == (decoding.facts.height, decoding.facts.width, 3)
    for picture in itertools.islice(plain_frames(path), MOST_FRAMES):
        assert picture.ndim == 3


def sound(path: Path) -> None:
    """What a writer's copy of the sound does in its process."""
    copy_sound(path, io.BytesIO())


def manifest(path: Path) -> None:
    """A bundle's manifest, and one that is packed."""
    content = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder, "bundle.zip")
        if content[:2] == b"PK":
            shutil.copyfile(path, packed)
        else:
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("manifest.json", content)
        try:
            Bundle.open(packed).close()
        finally:
            Manifest.from_bytes(content)


def recipe(path: Path) -> None:
    """A recipe in TOML or JSON."""
    text = path.read_bytes().decode(errors="replace")
    parse_recipe(text, json_text=path.suffix == ".json")


def onnx(path: Path) -> None:
    """An ONNX file, as `preflight` reads it and as ONNX Runtime loads it."""
    from pocketportrait.runtime.onnx_runner import OnnxRunner
    from pocketportrait.validation.preflight.reader import read_graph

    check_model(path)
    with OnnxRunner(path, threads=1):
        pass
    read_graph(path)


def tflite(path: Path) -> None:
    """A TFLite file, as `preflight` reads it and as LiteRT loads it."""
    from pocketportrait.runtime.litert_runner import LitertRunner
    from pocketportrait.validation.preflight.reader import read_graph

    check_model(path)
    read_graph(path)
    with LitertRunner(path, threads=1):
        pass


def mlpackage(path: Path) -> None:
    """A Core ML package: its program, or its list of files, is what was mutated."""
    from pocketportrait.validation.preflight.reader import read_graph

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "a.mlpackage")
        (package / "Data/com.apple.CoreML").mkdir(parents=True)
        shutil.copyfile(CORPUS / "mlpackage/Manifest.json", package / "Manifest.json")
        program = package / "Data/com.apple.CoreML/model.mlmodel"
        shutil.copyfile(CORPUS / "mlpackage/add.mlmodel", program)
        shutil.copyfile(path, package / "Manifest.json" if path.suffix == ".json" else program)
        read_graph(package)


class _Answers(AdbClient):
    """A client that always says the same."""

    def __init__(self, text: str) -> None:
        super().__init__("adb", "emulator-5554")
        self._text = text

    def _run(self, arguments: list[str], timeout_s: float) -> Ran:
        return Ran(0, self._text, self._text)


def adb(path: Path) -> None:
    """What an adb client or a device prints, and the report that a device hands back."""
    text = path.read_bytes().decode(errors="replace")
    told(Ran(0, text, text))
    with contextlib.suppress(TargetError):
        _Answers(text).require()
    for reader in (
        lambda: platform_of(Ran(0, text, text)),
        lambda: parse_benchmark_model(text),
        lambda: ResultRecord.model_validate_json(path.read_bytes()),
    ):
        # pydantic's is a ValueError, which `read_result` makes ours
        with contextlib.suppress(PortraitError, ValidationError):
            reader()


def report(path: Path) -> None:
    """A record that another machine wrote, and consent beside a photo."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "a.jpg")
        picture.write_bytes(b"a")
        shutil.copyfile(path, sidecar_of(picture))
        recorded_consent(picture)
    read_result(path)


TARGETS: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (photo, video, sound, manifest, recipe, onnx, tflite, mlpackage, adb, report)
}
SEEDS_OF = {"sound": "video"}  # others have a folder of their own name


def seeds_of(target: str) -> list[Path]:
    """Return what a target's mutations begin with."""
    return seeds(SEEDS_OF.get(target, target))


def describe(edits: Sequence[Edit]) -> str:
    """Return edits as JSON, to be read by people."""
    return json.dumps([[e.kind, e.where, e.data.hex()] for e in edits])
