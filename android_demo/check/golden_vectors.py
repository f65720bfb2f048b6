"""Writes what the JUnit tests of `pipeline/` compare with: the same arrays as seen by the Python package.

    python -m android_demo.check.golden_vectors

Deterministic; `tests/test_android_vectors.py` writes everything again and compares bytes.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from android_demo.check.tiny_bundle import write_tiny_bundle
from pocketportrait import atomic
from pocketportrait.contract import Array, TensorSpec
from pocketportrait.media.crop import SquareCrop, crop_for_face, cut, landmark_box
from pocketportrait.media.face import FaceBox
from pocketportrait.media.source_type import write_source_type
from pocketportrait.runtime.codes import MotionTransfer
from pocketportrait.runtime.session import to_tensor
from pocketportrait.validation.bench_record import Timing
from pocketportrait.validation.parity import Parity
from pocketportrait.validation.tolerance import Arithmetic, tolerance_for

RESOURCES = Path(__file__).resolve().parent.parent / "pipeline" / "src" / "test" / "resources"
MATRICES = {
    "camera": (0.299, 0.114, True),
    "bt601": (0.299, 0.114, False),
    "bt709": (0.2126, 0.0722, False),
}
Tensors = dict[str, Array]
Cases = list[dict[str, Any]]


def write_vectors(folder: Path) -> None:
    """Write all files into a folder."""
    tensors: Tensors = {}
    cases = {
        "yuv": _yuv(tensors),
        "cut": _cuts(tensors),
        "face": _faces(),
        "one_euro": _one_euro(),
        "codes": _codes(),
        "timing": _timings(),
        "parity": _parities(),
    }
    _orientations(tensors)
    _tensor(tensors)
    _source_type(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(cases), indent=1, sort_keys=True, allow_nan=False)
    atomic.write_bytes(folder / "vectors.json", text.encode() + b"\n")
    whole = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
    atomic.write_bytes(folder / "vectors.safetensors", save(whole))
    write_tiny_bundle(folder / "bundle")


def rgb_of(y: Array, u: Array, v: Array, matrix: str) -> Array:
    """Return RGB uint8 [H, W, 3] of luma [H, W] and chroma of half its size, by ITU-R BT.601 or BT.709."""
    kr, kb, full = MATRICES[matrix]
    height, width = y.shape
    start, luma, chroma = (0.0, 1.0, 1.0) if full else (16.0, 255 / 219, 255 / 224)
    light = (y.astype(float) - start) * luma
    blue, red = (
        plane.repeat(2, 0).repeat(2, 1)[:height, :width].astype(float) - 128 for plane in (u, v)
    )
    kg = 1 - kr - kb
    r = light + 2 * (1 - kr) * chroma * red
    g = light - 2 * kb * (1 - kb) / kg * chroma * blue - 2 * kr * (1 - kr) / kg * chroma * red
    b = light + 2 * (1 - kb) * chroma * blue
    return np.clip(np.floor(np.stack([r, g, b], -1) + 0.5), 0, 255).astype(np.uint8)


def _yuv(tensors: Tensors) -> Cases:
    generator = np.random.default_rng(1)
    cases = []
    layouts = (
        ("planar", 1, 0),
        ("interleaved", 2, 0),
        ("padded", 1, 5),
        ("padded-interleaved", 2, 3),
    )
    for number, (layout, pixel, padding) in enumerate(layouts):
        for matrix, (height, width) in zip(MATRICES, ((6, 8), (5, 7), (4, 6)), strict=True):
            name = f"yuv.{layout}.{matrix}"
            half = ((height + 1) // 2, (width + 1) // 2)
            y, u, v = (
                generator.integers(0, 256, s, np.uint8) for s in ((height, width), half, half)
            )
            case: dict[str, Any] = {
                "name": name,
                "matrix": matrix,
                "width": width,
                "height": height,
            }
            for plane, values, step in (("y", y, 1), ("u", u, pixel), ("v", v, pixel)):
                row = (values.shape[1] - 1) * step + 1 + padding + number
                tensors[f"{name}.{plane}"] = _laid_out(values, row, step)
                case |= {f"{plane}_row": row, f"{plane}_pixel": step}
            tensors[f"{name}.rgb"] = rgb_of(y, u, v, matrix)
            cases.append(case)
    return cases


def _laid_out(values: Array, row: int, step: int) -> Array:
    """Return a plane's bytes as a camera gives them: the last row ends with its last sample."""
    height, width = values.shape
    out = np.full((height - 1) * row + (width - 1) * step + 1, 77, np.uint8)
    for line in range(height):
        out[line * row : line * row + (width - 1) * step + 1 : step] = values[line]
    return out


def _picture(height: int, width: int, seed: int) -> Array:
    """Return a picture whose large shapes carry some noise."""
    generator = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:height, 0:width]
    # no sine: libraries differ in its last place, and these bytes are the same everywhere
    waves = np.stack([_wave(xx / (9 + c)) + _wave(yy / (12 - c)) for c in range(3)], -1)
    noisy = 127 + 50 * waves + generator.uniform(-20, 20, waves.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _wave(phase: Array) -> Array:
    """Return a triangle wave of period 2 between -1 and 1."""
    wave: Array = 2 * np.abs(phase % 2 - 1) - 1
    return wave


def _orientations(tensors: Tensors) -> None:
    picture = tensors["orient.in"] = _picture(3, 5, 2)
    for degrees in (0, 90, 180, 270):
        turned = np.rot90(picture, -degrees // 90)
        tensors[f"orient.{degrees}.false"] = turned
        tensors[f"orient.{degrees}.true"] = turned[:, ::-1]


def _cuts(tensors: Tensors) -> Cases:
    picture = tensors["cut.in"] = _picture(30, 40, 3)
    crops = {
        "whole": (5.0, 0.0, 30.0, 10),
        "fractions": (3.3, 2.7, 21.4, 8),
        "same": (4.0, 6.0, 16.0, 16),
        "outside": (-6.5, 11.25, 29.0, 12),
        "enlarged": (8.2, 7.9, 9.3, 16),
        "enlarged-outside": (33.0, -3.5, 9.0, 18),
    }
    for name, (x, y, side, out) in crops.items():
        tensors[f"cut.{name}"] = cut(picture, SquareCrop(x, y, side), out)
    return [
        {"name": name, "x": x, "y": y, "side": side, "out": out}
        for name, (x, y, side, out) in crops.items()
    ]


def _faces() -> Cases:
    faces = (
        ((220, 100, 420, 340), (640, 480)),
        ((20, 10, 120, 130), (640, 480)),
        ((500, 300, 700, 560), (640, 480)),
        ((10, 10, 400, 470), (480, 640)),
        ((60, 40, 90, 80), (128, 96)),
    )
    cases = []
    for box, (width, height) in faces:
        left, top, right, bottom = map(float, box)
        face = FaceBox(left, top, right, bottom)
        landmarks, crop = landmark_box(face), crop_for_face(face, (width, height))
        cases.append(
            {
                "box": [landmarks.left, landmarks.top, landmarks.right, landmarks.bottom],
                "width": width,
                "height": height,
                "crop": [crop.x, crop.y, crop.side],
            }
        )
    return cases


def _tensor(tensors: Tensors) -> None:
    picture = tensors["tensor.in"] = _picture(4, 6, 4)
    spec = TensorSpec("photo", (1, 3, 4, 6), low=0.0, high=1.0)
    tensors["tensor.nchw"] = to_tensor(picture, spec)


def _source_type(tensors: Tensors) -> None:
    """Store what is appended to a film that a model made."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        film.touch()
        write_source_type(film)
        tensors["source_type"] = np.frombuffer(film.read_bytes(), np.uint8)


def one_euro(
    raw: list[float], time_s: list[float], settings: tuple[float, float, float]
) -> list[float]:
    """Return the 1 Euro filter's output (Casiez, Roussel, Vogel, CHI 2012, algorithm 1).

    Args:
        raw: samples.
        time_s: their times; one that does not advance repeats the last output.
        settings: lowest cutoff in Hz, its rise with speed, cutoff of the speed in Hz.

    """
    lowest, beta, speed_cutoff = settings
    value, speed, last = raw[0], 0.0, time_s[0]
    out = [value]
    for sample, now in zip(raw[1:], time_s[1:], strict=True):
        passed = now - last
        if passed > 0:
            derivative = (sample - value) / passed
            speed += _weight(speed_cutoff, passed) * (derivative - speed)
            value += _weight(lowest + beta * abs(speed), passed) * (sample - value)
            last = now
        out.append(value)
    return out


def _weight(cutoff_hz: float, passed_s: float) -> float:
    tau = 1 / (2 * math.pi * cutoff_hz)
    return 1 / (1 + tau / passed_s)


def _one_euro() -> Cases:
    generator = np.random.default_rng(5)
    time_s = [float(t) for t in np.cumsum(generator.uniform(0.02, 0.06, 24))]
    time_s[7] = time_s[6]  # a camera may repeat a time stamp
    raw = [float(v) for v in _wave(np.array(time_s)) + generator.uniform(-0.1, 0.1, 24)]
    return [
        {
            "min_cutoff_hz": settings[0],
            "beta": settings[1],
            "speed_cutoff_hz": settings[2],
            "time_s": time_s,
            "raw": raw,
            "smooth": one_euro(raw, time_s, settings),
        }
        for settings in ((1.0, 0.0, 1.0), (1.5, 0.5, 1.0), (0.3, 4.0, 2.0))
    ]


def _codes() -> Cases:
    generator = np.random.default_rng(6)
    cases = []
    for motion in ("relative", "absolute"):
        transfer = MotionTransfer(motion)
        source, *driving = generator.normal(0, 1, (6, 1, 9)).astype(np.float32)
        transfer.set_source(source)
        given = []
        for number, code in enumerate(driving):
            if number == 3:
                transfer.reset_neutral()
            given.append(transfer.apply(code)[0])
        cases.append(
            {
                "motion": motion,
                "source": source[0],
                "driving": [code[0] for code in driving],
                "given": given,
                "reset_before": 3,
            }
        )
    return cases


def _timings() -> Cases:
    generator = np.random.default_rng(7)
    cases = []
    for count, warmup in ((1, 0), (2, 0), (7, 2), (50, 3), (101, 1)):
        values = [float(v) for v in generator.gamma(4, 3, count)]
        timing = Timing.of(values, warmup=warmup)
        cases.append({"ms": values, **timing.model_dump()})
    return cases


def _parities() -> Cases:
    generator = np.random.default_rng(8)
    reference = generator.random(40).astype(np.float32)
    noisy = (reference + generator.normal(0, 1e-3, 40)).astype(np.float32)
    broken = noisy.copy()
    broken[3] = np.nan
    pairs = {
        "equal": (reference, reference, None),
        "noisy": (reference, noisy, None),
        "noisy image": (reference, noisy, 1.0),
        "a little": (reference, reference + np.float32(3e-6), 1.0),
        "broken": (reference, broken, None),
        "constant": (np.full(5, 3, np.float32), np.full(5, 3.5, np.float32), None),
        "zeros": (np.zeros(5, np.float32), np.zeros(5, np.float32), None),
        "large": (100 * reference, 100 * noisy, None),
    }
    cases = []
    for name, (want, got, peak) in pairs.items():
        parity = Parity.of(want, got, peak=peak)
        cases.append(
            {
                "name": name,
                "reference": want,
                "candidate": got,
                "peak": peak,
                "max_abs": parity.max_abs,
                # sums may be taken in another order elsewhere
                "psnr_db": round(parity.psnr_db, 8),
                "cosine": round(parity.cosine, 11),
                "gates": [
                    _gate(arithmetic, high, floor, want, parity)
                    for arithmetic in ("float32", "float16", "quantized")
                    for high in (1.0, 4.0)
                    for floor in (None, 1e-7, 2e-6)
                ],
            }
        )
    return cases


def _gate(
    arithmetic: Arithmetic, high: float, floor: float | None, want: Array, parity: Parity
) -> dict[str, Any]:
    spec = TensorSpec("t", (1, want.size), layout="NC", low=0.0, high=high)
    tolerance = tolerance_for(arithmetic, spec, want, floor)
    return {
        "arithmetic": arithmetic,
        "high": high,
        "floor": floor,
        "max_abs": tolerance.max_abs,
        "psnr_db": tolerance.psnr_db,
        "passes": tolerance.complaint(parity) is None,
    }


def _plain(value: Any) -> Any:
    """Return what JSON can hold: arrays as lists, and numbers that are not finite as words."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else str(float(value))
    return value


if __name__ == "__main__":
    write_vectors(RESOURCES)
