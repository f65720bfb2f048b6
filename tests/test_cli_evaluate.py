"""`pocketportrait evaluate`, on the tiny student and clips that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.contract import Array
from pocketportrait.media.video import VideoWriter
from pocketportrait.validation.portrait_evaluation import EvaluationOptions, evaluate
from pocketportrait.validation.portrait_faces import FaceReading

Output = pytest.CaptureFixture[str]
FRAMES = 6


def moving(seed: int) -> list[Array]:
    """Return a soft pattern that slides and brightens."""
    y, x = np.mgrid[0:256, 0:256] / 40 + seed
    frames = []
    for step in range(FRAMES):
        wave = 110 + 60 * np.sin(x + step / 3)[..., None] * np.cos(y[..., None] + np.arange(3))
        frames.append(np.clip(wave + 6 * step, 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    clips = []
    for number, name in enumerate(("one", "two")):
        with VideoWriter(folder / f"{name}.mkv", (256, 256), lossless=True) as writer:
            for frame in moving(number):
                writer.write(frame)
        facts = {"file": f"{name}.mkv", "identity": name, "origin": "footage", "split": "val"}
        clips.append(facts)
    (folder / "manifest.json").write_text(json.dumps({"clips": clips}))
    return folder


class ToneReader:
    """Reads a face off the tone of a picture."""

    def read(self, picture: Array, *, identity: bool = False) -> FaceReading | None:
        level = float(picture.mean())
        who = np.array([1.0, level / 1000])
        return FaceReading(
            np.full((478, 2), level),
            np.full(52, level / 255),
            np.full(3, level),
            who / np.linalg.norm(who) if identity else None,
        )


def figures(out: Path) -> dict[str, dict[str, float]]:
    record = json.loads((out / "evaluation.json").read_text())
    return {clip["clip"]: clip["figures"] for clip in record["clips"]}


def test_without_models_pixels_are_measured_and_faces_are_skipped(
    tiny_bundle: Bundle, data: Path, tmp_path: Path, capsys: Output
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", str(tiny_bundle.root), "--data", str(data), "-o", str(out)]
    more = ["--cross", "2", "--keep-clips", "--drift-frames", "20"]
    assert main([*arguments, *more]) == 0
    said = capsys.readouterr().out
    assert "SKIP akd_px, aed, apd_deg, csim" in said
    assert "SKIP cross-reenactment: no --score-models DIR" in said
    assert f"record: {out / 'evaluation.json'}" in said
    record = json.loads((out / "evaluation.json").read_text())
    assert (record["schema_version"], record["variant"]) == (1, "onnx/fp32")
    one = figures(out)["one"]
    assert {"l1", "psnr_db", "ssim", "flicker", "l1_static"} <= one.keys()
    assert not {"akd_px", "aed", "csim", "missing"} & one.keys()
    assert one["drift_l1"] == 0  # the student knows only photo and frame
    assert (out / "sheets" / "self-01.png").stat().st_size > 0

    # what was kept is what was measured, and any tool's clips can be scored so
    again = tmp_path / "again"
    rendered = ["--rendered", str(out / "clips"), "--data", str(data), "-o", str(again)]
    assert main(["evaluate", *rendered]) == 0
    assert "SKIP drift: rendered clips" in capsys.readouterr().out
    found = figures(again)["one"]
    assert found == {k: v for k, v in one.items() if k != "drift_l1"}


def test_with_faces_the_student_is_judged_across_people_too(
    tiny_bundle: Bundle, data: Path, tmp_path: Path
) -> None:
    options = EvaluationOptions(data=data, out=tmp_path, cross=3, drift_frames=0)
    told: list[tuple[int, int | None]] = []
    record = evaluate(
        tiny_bundle.root,
        options,
        reader=ToneReader(),
        progress=lambda done, total: told.append((done, total)),
    )
    # drivers brighten by 30 levels, read as degrees: both move; each has one other person
    assert [(c.clip, c.photo) for c in record.of("cross")] == [("one", "two"), ("two", "one")]
    assert record.warnings == ("2 pairs of different people, not 3",)
    assert told[-1] == (4, 5)
    for clip in record.clips:
        assert {"aed", "apd_deg", "csim", "missing", "aed_static"} <= clip.figures.keys()
        assert ("l1" in clip.figures) == (clip.kind == "self")
    assert {s.kind for s in record.summaries} == {"self", "cross"}
    assert (tmp_path / "sheets" / "cross-01.png").is_file()


def test_only_so_much_of_a_clip_is_scored(tiny_bundle: Bundle, data: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(
        data=data, out=tmp_path, clips=("two",), frames=3, drift_frames=0, threads=1
    )
    (clip,) = evaluate(tiny_bundle.root, options).clips
    assert (clip.clip, clip.frames) == ("two", 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere"], "nowhere: want a folder with clips, got none"),
        (["--clips", "three"], "want clips such as one, two, got three"),
        (["--split", "test"], "got none; check --data, --split and --origin"),
        (["--score-models", "nowhere"], "nowhere: want a folder with face_landmarker"),
        (["--precision", "w8"], "w8"),
        (["--rendered", "nowhere"], "want a bundle or --rendered, got both"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tiny_bundle: Bundle,
    data: Path,
    refusal: Callable[[list[str]], str],
    arguments: list[str],
    words: str,
) -> None:
    command = ["evaluate", str(tiny_bundle.root), "--data", str(data)]
    assert words in refusal([*command, *arguments])


def test_recordings_are_not_asked_to_perform_across_people(
    data: Path, tmp_path: Path, capsys: Output
) -> None:
    rendered = ["evaluate", "--rendered", str(data), "--data", str(data), "-o", str(tmp_path)]
    assert main([*rendered, "--cross", "2"]) == 2
    assert "want --cross with a bundle" in capsys.readouterr().err
