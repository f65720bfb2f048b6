"""A tiny recorded teacher: squares that move, their labels, and pairs to distil from."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
from safetensors.numpy import save_file

from pocketportrait.contract import Array
from pocketportrait.distill.teacher_pairs import PairStore
from pocketportrait.media.photo import write_picture
from pocketportrait.media.video import VideoWriter
from pocketportrait.models.teachers.recorded import MANIFEST

SIDE, FRAMES = 64, 9


def square(x: float, y: float, level: int) -> Array:
    picture = np.full((SIDE, SIDE, 3), level, np.uint8)
    picture[int(y * SIDE) - 9 : int(y * SIDE) + 9, int(x * SIDE) - 9 : int(x * SIDE) + 9] = 240
    return picture


def courses() -> Array:
    """Where the squares of two drivers stand, [2, FRAMES, 2], 0..1."""
    rng = np.random.default_rng(3)
    time = np.linspace(0, 4, FRAMES)[None, :, None]
    return 0.5 + 0.2 * np.sin(time + rng.random((2, 1, 2)) * 6)


def write_recordings(folder: Path) -> None:
    """A photo of a square on grey, drivers with squares on black, and the photo's square moving so."""
    triples = []
    (folder / "photos").mkdir(parents=True)
    write_picture(folder / "photos/a.png", square(0.5, 0.5, 100))
    for number, course in enumerate(courses()):
        names = {"photo": "photos/a.png", "driver": f"d{number}.mkv", "output": f"o{number}.mkv"}
        for role, level in (("driver", 20), ("output", 100)):
            with VideoWriter(folder / names[role], (SIDE, SIDE), lossless=True) as writer:
                for x, y in course:
                    writer.write(square(x, y, level))
        triples.append(names)
    content = {"schema_version": 1, "system": "squares", "licence": "ours", "triples": triples}
    (folder / MANIFEST).write_text(json.dumps(content))


def write_labels(store: PairStore, without_photo: str = "") -> None:
    """Landmarks that stand where the square is; the rest at random."""
    rng = np.random.default_rng(7)
    shape = rng.normal(0, 0.1, (478, 2))
    (store.folder / "labels").mkdir(exist_ok=True)
    for path in sorted(store.folder.glob("clips/*.mp4")):
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        centres = [np.argwhere(frame[..., 0] > 200).mean(0)[::-1] / len(frame) for frame in frames]
        labels = {
            "frame": np.arange(len(frames), dtype=np.int32),
            "points": (np.stack(centres)[:, None] + shape).astype(np.float32),
            "blendshapes": rng.random((len(frames), 52), dtype=np.float32),
            "angles": rng.normal(0, 0.1, (len(frames), 3)).astype(np.float32),
        }
        if path.stem == without_photo:
            labels = {name: np.ascontiguousarray(value[1:]) for name, value in labels.items()}
        save_file(labels, store.folder / "labels" / f"{path.stem}.safetensors")
