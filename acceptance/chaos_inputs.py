"""What chaos.py feeds to commands: a tiny student, its bundle, two labelled clips, recordings, a space."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

STEPS_OF_CLIPS = (40, 20)  # of the two phases
STEPS_OF_PAIRS = 10  # of each phase
DONE = "done"  # written last: inputs that a kill left half are made again


@dataclass(frozen=True, slots=True)
class Inputs:
    """Paths as arguments."""

    photo: str
    driver: str
    weights: str
    bundle: str
    space: str
    clips: str
    plan: str
    recordings: str
    store: str
    distill_plan: str

    @classmethod
    def below(cls, folder: Path) -> Inputs:
        """Return where each lies."""
        return cls(
            photo=str(folder / "photo.png"),
            driver=str(folder / "driver.mp4"),
            weights=str(folder / "tiny.safetensors"),
            bundle=str(folder / "bundle"),
            space=str(folder / "space.json"),
            clips=str(folder / "clips"),
            plan=str(folder / "plan.json"),
            recordings=str(folder / "recordings"),
            store=str(folder / "store"),
            distill_plan=str(folder / "distill-plan.json"),
        )


def make_inputs(folder: Path) -> Inputs:
    """Make them below a folder, unless they are there."""
    made = Inputs.below(folder)
    if not (folder / DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _make_student(made)
        _make_clips(Path(made.clips))
        _make_pairs(made)
        _make_plans(made)
        (folder / DONE).touch()
    return made


def _make_student(made: Inputs) -> None:
    from pocketportrait.export.shipped import export_weights
    from pocketportrait.media.photo import read_photo, write_picture
    from pocketportrait.media.samples import sample_drivers, sample_photos
    from pocketportrait.models.dims import tiny
    from pocketportrait.models.weights import save_student
    from tests.conftest import random_student
    from tests.test_quantize_sweep import SPACE

    write_picture(Path(made.photo), read_photo(sample_photos()[0]))
    shutil.copyfile(sample_drivers()[0], made.driver)
    save_student(random_student(tiny()), Path(made.weights))
    export_weights(
        Path(made.weights), Path(made.bundle), formats=["onnx"], precisions=["fp32"], num_golden=1
    ).close()
    Path(made.space).write_text(json.dumps(SPACE))


def _make_clips(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from tests.test_distill_training import FRAMES, write_clip

    random = np.random.default_rng(7)
    shape = random.normal(0, 0.1, (478, 2))
    (folder / "labels").mkdir(parents=True)
    for seed in (1, 2):
        centres = write_clip(folder / "clips" / f"{seed}.mp4", seed)
        labels = {
            "frame": np.arange(FRAMES, dtype=np.int32),
            "points": (centres[:, None] + shape).astype(np.float32),
            "blendshapes": random.random((FRAMES, 52), dtype=np.float32),
            "angles": random.normal(0, 0.1, (FRAMES, 3)).astype(np.float32),
        }
        save_file(labels, folder / "labels" / f"{seed}.safetensors")


def _make_pairs(made: Inputs) -> None:
    from pocketportrait.distill.teacher_pairs import PairStore
    from pocketportrait.distill.teacher_training import distill
    from pocketportrait.errors import InputError
    from tests.recorded_squares import write_labels, write_recordings
    from tests.test_distill_teacher_training import options_of

    store = Path(made.store)
    write_recordings(Path(made.recordings))
    try:
        distill(options_of(Path(made.recordings), store, store / "out"))
    except InputError:  # it asks for labels, once the pairs are rendered
        write_labels(PairStore(store))


def _make_plans(made: Inputs) -> None:
    from tests import test_distill_teacher_training as pairs
    from tests import test_distill_training as clips

    train = [
        dataclasses.replace(p, steps=n) for p, n in zip(clips.PLAN, STEPS_OF_CLIPS, strict=True)
    ]
    Path(made.plan).write_text(json.dumps([dataclasses.asdict(p) for p in train]))
    taught = [dataclasses.replace(p, steps=STEPS_OF_PAIRS) for p in pairs.PLAN]
    Path(made.distill_plan).write_text(json.dumps([dataclasses.asdict(p) for p in taught]))
