"""A search over recipes of one bundle: quality, bytes and milliseconds at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pocketportrait import atomic
from pocketportrait.quantize.counting import InstructionCounter, counting_target
from pocketportrait.quantize.front import Front
from pocketportrait.quantize.judging import Figures, Judge, judged_pairs_of
from pocketportrait.quantize.recipe import Recipe
from pocketportrait.quantize.space import Space
from pocketportrait.quantize.study import OnTrial, Study, study_key
from pocketportrait.quantize.workbench import Workbench

NUM_PAIRS = 16
FILES = "files"


def sweep(
    source: Path,
    space: Space,
    out: Path,
    *,
    count: int,
    calibration: Path | None = None,
    judge: Path | None = None,
    num_pairs: int = NUM_PAIRS,
    seed: int = 0,
    on_trial: OnTrial | None = None,
) -> Front:
    """Try recipes of a space until the study in `out` has `count` finished trials.

    Processes that run this on one folder share one study, its journal and its files; one that is
    killed loses the trial that it was at, which is then tried again.

    Args:
        source: a bundle with fp32 variants.
        space: what may be chosen.
        out: folder of the study; gets `pareto.json`, `pareto.csv` and plots after every trial.
        count: finished trials that the study shall have, those of other processes included.
        calibration: a folder of clips or a calibration set, where a recipe computes in integers.
        judge: clips to compare pictures on, not those of the calibration set; the golden vectors by
            default.
        num_pairs: pairs of photo and frame to take from `judge`.
        seed: of the sampler.
        on_trial: told after every trial of this process.

    Raises:
        InputError: something in the space cannot be (all of it is told before any work), clips are
            missing or overlap, or `out` holds another study.
        MissingToolError: the `quantize` extra is not installed, or the target that counts
            instructions is not.

    """
    counter = None
    if space.counts_on is not None:
        counter = InstructionCounter(counting_target(space.counts_on, space.format))
    pairs, judged = judged_pairs_of(source, judge, num_pairs)
    bench = Workbench(
        source,
        space.corners(),
        format=space.format,
        calibration=calibration,
        judged=judged,
        store=out / FILES,
    )
    with bench:
        files = {name: facts.sha256 for name, facts in bench.bundle.manifest.files.items()}
        key = study_key(
            bundle=files,
            calibration=bench.calibration.digest,
            judged=sorted(judged),
            pairs=len(pairs),
        )
        timed = "frame_ms" in space.objectives
        with Study(out, space, key, seed=seed) as study:
            judging = Judge(bench.bundle, bench.scratch, pairs=pairs, timed=timed, counter=counter)

            def evaluate(recipe: Recipe) -> Figures:
                return judging.look(bench.trial(recipe), space.format, recipe.name)

            return study.run(count, evaluate, on_trial)


def pick(front: Front, conditions: Sequence[str], path: Path, name: str | None = None) -> Recipe:
    """Write the recipe of the cheapest trial on a front that keeps some conditions.

    Args:
        front: of a search.
        conditions: such as `psnr_db>=38`.
        path: `.toml` file to write or replace.
        name: of the recipe; the one it had in the search by default.

    Raises:
        InputError: no trial on the front keeps them.

    """
    found = front.pick(conditions)
    recipe = found.recipe.model_copy(update={"name": name} if name else {})
    figures = found.figures
    said = f"# Searched ({front.space}, {front.format}): {figures.psnr_db:.1f} dB, {figures.bytes} bytes"
    timed = "" if figures.frame_ms is None else f", {figures.frame_ms:.2f} ms a frame"
    if figures.frame_instructions is not None:
        timed += f", {figures.frame_instructions} instructions a frame ({front.counted_on})"
    atomic.write_bytes(path, f"{said}{timed}.\n{recipe.to_toml()}".encode())
    return recipe
