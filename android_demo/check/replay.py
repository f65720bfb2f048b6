"""One bundle, photo and frames through Kotlin on the JVM and through Python: the same pictures."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
from safetensors.numpy import save

from android_demo.check.kotlin import run_replay
from android_demo.check.toolchain import Tools
from pocketportrait.bundle import Bundle, FileFacts
from pocketportrait.contract import GRAPHS, Array
from pocketportrait.export.shipped import export_weights
from pocketportrait.media.crop import cut, ready_crop
from pocketportrait.media.photo import read_photo
from pocketportrait.media.samples import sample_photos
from pocketportrait.runtime.codes import MotionTransfer
from pocketportrait.runtime.runner import open_runner
from pocketportrait.runtime.session import to_tensor
from pocketportrait.validation.checks import Status
from pocketportrait.validation.report_record import read_result

MAX_ABS = 1e-4
READABLE_IR = (
    9  # of ONNX Runtime 1.17, the newest for desktop Java that can be had; opset 18 needs no more
)


def replay_complaints(work: Path, tools: Tools) -> list[str]:
    """Return where Kotlin and Python differ on a bundle of the shipped weights; empty where they do not.

    Args:
        work: has the classes of the pipeline and of the replay; gets everything else.
        tools: what was fetched.

    """
    export_weights(None, work / "bundle", formats=["onnx"], precisions=["fp32"], num_golden=1)
    _rewrite_headers(work / "bundle")
    pictures = dict(zip(("photo", "frame-0", "frame-1", "frame-2"), _squares(), strict=True))
    (work / "pictures.safetensors").write_bytes(save(pictures))
    arguments: list[str | Path] = [work / "bundle", "fp32", work / "pictures.safetensors", work]
    run_replay(work, work / "pipeline", arguments, tools)
    found = [
        f"{check.name}: {check.message}"
        for check in read_result(work / "report.json").verifications[0].checks
        if check.status is not Status.PASS
    ]
    want = _images(work / "bundle", pictures)
    got = np.fromfile(work / "images.f32", "<f4")
    if got.size != want.size:
        return [*found, f"want {want.size} values of images, got {got.size}"]
    worst = np.abs(got.reshape(want.shape) - want).max(axis=(1, 2, 3, 4))
    if want[1:].std() == 0 or np.abs(want[1] - want[0]).max() < 0.01:
        found.append("the frames move nothing, so that equal pictures prove nothing")
    return found + [
        f"frame {number}: want max abs {MAX_ABS}, got {value:.3g}"
        for number, value in enumerate(worst)
        if not value <= MAX_ABS
    ]


def _squares() -> list[Array]:
    """Return the sample photos, cropped by Python, so that the graphs are given equal bytes."""
    found = []
    for path in sample_photos():
        picture = read_photo(path)
        square = cut(picture, ready_crop((picture.shape[1], picture.shape[0])))
        found.append(np.ascontiguousarray(square))  # safetensors stores memory as it lies
    return found


def _rewrite_headers(folder: Path) -> None:
    """Give the files of a bundle the older header that the engine of the JVM reads."""
    manifest = Bundle.open(folder).manifest
    files = dict(manifest.files)
    for path in files:
        if path.endswith(".onnx"):
            model = onnx.load(folder / path)
            model.ir_version = READABLE_IR
            onnx.save(model, folder / path)
            data = (folder / path).read_bytes()
            files[path] = FileFacts(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    changed = manifest.model_copy(update={"files": files})
    (folder / "manifest.json").write_bytes(changed.to_bytes())


def _images(folder: Path, pictures: dict[str, Array]) -> Array:
    """Return what the Python runtime draws, [frames, 1, 3, H, W] float32."""
    bundle = Bundle.open(folder)
    transfer = MotionTransfer("relative")
    with ExitStack() as stack:
        appearance, motion, render = (
            stack.enter_context(open_runner(bundle, "onnx", "fp32", graph)) for graph in GRAPHS
        )

        def code(picture: Array) -> Array:
            return motion.infer({"frame": to_tensor(picture, motion.inputs[0])})["code"]

        features = appearance.infer({"photo": to_tensor(pictures["photo"], appearance.inputs[0])})
        source = code(pictures["photo"])
        transfer.set_source(source)
        images = [
            render.infer(
                {**features, "source_code": source, "driving_code": transfer.apply(code(picture))}
            )["image"]
            for name, picture in pictures.items()
            if name != "photo"
        ]
    return np.stack(images)
