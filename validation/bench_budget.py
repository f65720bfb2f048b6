"""From the camera to the picture: what each stage of a live frame costs, from file to file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pocketportrait.errors import InputError
from pocketportrait.media.crop import cut, ready_crop
from pocketportrait.media.photo import read_photo
from pocketportrait.media.samples import sample_drivers, sample_photos
from pocketportrait.media.video import VideoReader
from pocketportrait.runtime.runner import choose_runner, is_emulated
from pocketportrait.runtime.session import Session
from pocketportrait.validation.bench import BenchOptions, Choice
from pocketportrait.validation.bench_record import Budget, Stage, Timing

STAGES = ("decode", "crop", "motion", "render", "convert", "encode")


def measure_budget(
    choice: Choice, options: BenchOptions | None = None, driver: Path | None = None
) -> Budget:
    """Play a driving video through a variant, one frame after the other, and time every stage.

    `decode` reads a frame, `crop` cuts and scales it, `motion` and `render` are the graphs, `convert` is
    what a session does around them (pixels to tensors and back, codes), `encode` writes the picture.

    Args:
        choice: the variant.
        options: warm-up, threads, and `rounds` as the most frames that count.
        driver: a video; the first sample by default.

    Raises:
        InputError: an emulated variant, or a video too short to count a frame after the warm-up.
        MissingToolError: the variant cannot be run here.

    """
    options = options or BenchOptions()
    runner = choose_runner(choice.format, choice.runner)
    if is_emulated(runner):
        raise InputError(
            f"{choice.variant}: want a variant that this machine can time; choose another"
        )
    reader = VideoReader(driver or sample_drivers()[0])
    session = Session.open(
        choice.bundle, choice.format, choice.precision, threads=options.threads, runner=runner
    )
    with session, tempfile.TemporaryDirectory(prefix="pocketportrait-") as folder:
        rows = list(_frames(session, reader, Path(folder), options.warmup + options.rounds))
    if len(rows) <= options.warmup:
        raise InputError(
            f"{reader.path}: want more frames than the warm-up of {options.warmup}, got {len(rows)}"
        )
    stages = tuple(
        Stage(stage=s, timing=Timing.of([r[s] for r in rows], warmup=options.warmup))
        for s in STAGES
    )
    return Budget(
        variant=choice.variant,
        driver=reader.path.name,
        frames=len(rows) - options.warmup,
        stages=stages,
        total=Timing.of([sum(r.values()) for r in rows], warmup=options.warmup),
    )


def _frames(
    session: Session, reader: VideoReader, folder: Path, most: int
) -> Iterator[dict[str, float]]:
    """Yield the ms of each stage, frame by frame."""
    side = session.side
    photo = read_photo(sample_photos()[0])
    session.set_photo(cut(photo, ready_crop((photo.shape[1], photo.shape[0])), side))
    crop = ready_crop((reader.facts.width, reader.facts.height))
    with reader.writer(folder / "picture.mp4", (side, side)) as writer:
        clock = time.perf_counter()
        for frame in islice(reader.frames(), most):
            decoded = time.perf_counter()
            picture = cut(frame.rgb, crop, side)
            cropped = time.perf_counter()
            drawn = session.step(picture)
            stepped = time.perf_counter()
            writer.write(drawn, frame.pts)
            written = time.perf_counter()
            motion, render = (session.timings_ms[graph][-1] for graph in ("motion", "render"))
            yield {
                "decode": (decoded - clock) * 1e3,
                "crop": (cropped - decoded) * 1e3,
                "motion": motion,
                "render": render,
                "convert": (stepped - cropped) * 1e3 - motion - render,
                "encode": (written - stepped) * 1e3,
            }
            clock = time.perf_counter()
