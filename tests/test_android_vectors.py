"""What JUnit compares with is what the Python package computes today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from android_demo.check.golden_vectors import RESOURCES, rgb_of, write_vectors


def test_committed_vectors_are_those_that_are_written_today(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    want = {f.relative_to(tmp_path): f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    have = {f.relative_to(RESOURCES): f.read_bytes() for f in RESOURCES.rglob("*") if f.is_file()}
    assert want.keys() == have.keys()
    assert [str(name) for name in want if want[name] != have[name]] == []
    assert sum(map(len, have.values())) < 200_000  # small enough to live in the repository


def test_the_camera_matrix_is_the_one_of_jpeg() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 256, (8, 8), np.uint8)
    u, v = generator.integers(60, 200, (2, 4, 4), np.uint8)
    full = [plane.repeat(2, 0).repeat(2, 1) for plane in (u, v)]
    merged = Image.merge("YCbCr", [Image.fromarray(p) for p in (y, *full)]).convert("RGB")
    difference = np.asarray(merged).astype(int) - rgb_of(y, u, v, "camera")
    assert np.abs(difference).max() <= 1  # Pillow rounds its tables
