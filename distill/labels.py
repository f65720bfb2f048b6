"""Per-frame labels of clips: 478 landmarks, 52 blendshapes and head angles, one file a clip.

They are made once, by `label_worker.py` in an environment that has MediaPipe, and only read here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError, PortraitError

WORKER = Path(__file__).with_name("label_worker.py")
WORKER_PACKAGES = "mediapipe==1.2.2 opencv-contrib-python av numpy safetensors"
NOMINAL_RADIUS = 0.17  # of the side: makes log scale about 0 for a face in our framing
LANDMARKER = "face_landmarker_v2_with_blendshapes.task"


@dataclass(frozen=True, slots=True)
class ClipLabels:
    """Labels of the N labelled frames of one clip, in the order of the clip."""

    frame: Array  # [N] index in the clip
    points: Array  # [N, 478, 2], 0..1 of the frame
    blendshapes: Array  # [N, 52], 0..1
    angles: Array  # [N, 3]: yaw, pitch, roll in radians

    @classmethod
    def read(cls, path: Path) -> ClipLabels:
        """Read one label file.

        Raises:
            InputError: no label file, or arrays of unlike lengths.

        """
        try:
            arrays = load_file(str(path))
            labels = cls(**{name: arrays[name] for name in cls.__slots__})
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(
                f"{path}: want a label file, got a broken one ({error}); label the clip again"
            ) from error
        if (
            len(
                {len(labels.frame), len(labels.points), len(labels.blendshapes), len(labels.angles)}
            )
            > 1
        ):
            raise InputError(f"{path}: want arrays of one length; label the clip again")
        return labels

    def __len__(self) -> int:
        """Return the number of labelled frames."""
        return len(self.frame)


def label_data(
    data: Path,
    *,
    model: Path | None = None,
    out: Path | None = None,
    python: Path | None = None,
    rate_hz: float = 10.0,
    jobs: int = 1,
    on_clip: Callable[[dict[str, object]], None] | None = None,
) -> Path:
    """Label every `clips/*.mp4` below `data`; what is already labelled is kept.

    Args:
        data: a folder with `clips/`.
        model: MediaPipe's face landmarker file; looked for beside the data when not given.
        out: where label files go; `data/labels` when not given.
        python: an interpreter with MediaPipe; `python3` when not given.
        rate_hz: about how many frames a second are labelled.
        jobs: how many processes share the work.
        on_clip: called with each line that a worker reports.

    Returns:
        The folder of label files.

    Raises:
        InputError: no clips, or no landmarker file.
        MissingToolError: the interpreter has no MediaPipe.

    """
    clips = sorted((data / "clips").glob("*.mp4"))
    if not clips:
        raise InputError(f"{data}: want a folder with clips/*.mp4, got none there")
    model = model or find_landmarker(data)
    interpreter = str(python) if python else shutil.which("python3") or "python3"
    _require_mediapipe(interpreter)
    out = out or data / "labels"
    lock = threading.Lock()

    def work(share: Sequence[Path]) -> None:
        command = [interpreter, str(WORKER), str(model), str(out), *map(str, share)]
        command += ["--rate-hz", f"{rate_hz:g}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            complaint = _drain(process.stderr)
            for line in process.stdout:
                with lock:
                    if on_clip:
                        on_clip(json.loads(line))
        if process.returncode:
            raise PortraitError(f"labelling stopped: {complaint()}")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, [share for k in range(jobs) if (share := clips[k::jobs])]))
    return out


def find_landmarker(data: Path) -> Path:
    """Return the landmarker file found in `data`, its parents, or a `score` folder beside them."""
    for folder in (data.resolve(), *data.resolve().parents):
        for path in (folder / LANDMARKER, folder / "score" / LANDMARKER):
            if path.is_file():
                return path
    raise InputError(
        f"want {LANDMARKER} in or above {data}, got none; name it with --landmarker PATH"
    )


def _require_mediapipe(interpreter: str) -> None:
    check = subprocess.run(
        [interpreter, "-c", "import mediapipe, av, safetensors"], capture_output=True
    )
    if check.returncode:
        raise MissingToolError(
            f"{interpreter} has no MediaPipe; make an environment of its own (it cannot share one with the"
            f" face detector): python3 -m venv .venv-label && .venv-label/bin/pip install {WORKER_PACKAGES};"
            " then pass --python .venv-label/bin/python"
        )


def _drain(stream: Iterable[str]) -> Callable[[], str]:
    """Read a stream in the background, so that the writer never blocks; give its last line."""
    lines: list[str] = []
    thread = threading.Thread(target=lambda: lines.extend(stream), daemon=True)
    thread.start()

    def last() -> str:
        thread.join(5)
        return lines[-1].strip() if lines else "no message"

    return last


def spread(points: Array) -> tuple[Array, Array]:
    """Return the centre [N, 2] and the root mean square radius [N] of landmarks [N, P, 2]."""
    centre = points.mean(axis=1)
    radius = np.sqrt(((points - centre[:, None]) ** 2).sum(-1).mean(-1))
    return centre, radius
