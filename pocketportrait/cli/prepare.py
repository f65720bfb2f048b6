"""`pocketportrait prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted

if TYPE_CHECKING:
    from pocketportrait.distill.prepare.preparation import Prepared

Videos = Annotated[list[Path], typer.Argument(help="Videos, or folders of them.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the training data goes.")]
Licence = Annotated[
    str | None, typer.Option(help="What may be done with these videos; there is no default.")
]
Origin = Annotated[str, typer.Option(help="footage, or animated_or_edited_output.")]
ScoreModels = Annotated[
    Path | None,
    typer.Option(help="A folder with MobileFaceNet.onnx: people are told apart by face."),
]
Kind = Annotated[
    str, typer.Option("--executor", help="local, or ray (the cluster of RAY_ADDRESS).")
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes of the local executor.")]
CutLevels = Annotated[float, typer.Option(help="Change between two frames that is a cut, 0..255.")]
CalmLevels = Annotated[float, typer.Option(help="Smaller change that is a cut if it stands out.")]
CalmRatio = Annotated[float, typer.Option(help="How far it stands out from its neighbours.")]
ShortestS = Annotated[float, typer.Option(help="Shorter shots are rejected, s.")]
LongestS = Annotated[float, typer.Option(help="Longer shots are divided, s.")]
MostRate = Annotated[float, typer.Option(help="Faster videos lose every other frame, frames/s.")]
FacePx = Annotated[float, typer.Option(help="Smallest face, larger side in the source, px.")]
Seen = Annotated[float, typer.Option(help="Share of looks that must find the face.")]
Others = Annotated[float, typer.Option(help="Share of looks that may show another face.")]
Outside = Annotated[float, typer.Option(help="Part of the crop that may lie beyond the picture.")]
Leaving = Annotated[float, typer.Option(help="Share of looks whose face may leave the crop.")]
Sharpness = Annotated[float, typer.Option(help="Least variance of the Laplacian, levels^2.")]
Motion = Annotated[float, typer.Option(help="Least standard deviation over time, levels.")]
Strokes = Annotated[float, typer.Option(help="Most standing strokes on a line across the face.")]
CopyBits = Annotated[float, typer.Option(help="Hashes of a copy differ by at most this, of 64.")]
CopyAlike = Annotated[float, typer.Option(help="Motion of a copy correlates at least so, -1..1.")]
Distance = Annotated[float, typer.Option(help="Cosine distance between two people.")]
Apart = Annotated[float, typer.Option(help="Largest cosine between a face of val and of train.")]
ValShare = Annotated[float, typer.Option(help="Share of the people that goes to val.")]
ShardMb = Annotated[float, typer.Option(help="About how large a shard gets, MB.")]


@app.command()
def prepare(
    context: typer.Context,
    videos: Videos,
    out: Out,
    licence: Licence = None,
    origin: Origin = "footage",
    score_models: ScoreModels = None,
    executor: Kind = "local",
    jobs: Jobs = 1,
    cut_levels: CutLevels = 27.0,
    calm_cut_levels: CalmLevels = 15.0,
    calm_cut_ratio: CalmRatio = 8.0,
    shortest_s: ShortestS = 2.0,
    longest_s: LongestS = 10.0,
    most_rate_hz: MostRate = 30.0,
    least_face_px: FacePx = 90.0,
    least_seen: Seen = 0.9,
    most_others: Others = 0.1,
    most_outside: Outside = 0.02,
    most_leaving: Leaving = 0.05,
    least_sharpness: Sharpness = 20.0,
    least_motion: Motion = 5.0,
    most_strokes: Strokes = 14.0,
    copy_bits: CopyBits = 6.0,
    copy_alike: CopyAlike = 0.8,
    identity_distance: Distance = 0.52,
    identity_apart: Apart = 0.5,
    val_share: ValShare = 0.1,
    shard_mb: ShardMb = 256.0,
) -> None:
    """Turn videos into training clips, train and val apart; a run that was stopped goes on."""
    # PyAV, OpenCV and pydantic take a second to import; `--help` must not pay for them
    from pocketportrait.distill.prepare.executor import open_executor
    from pocketportrait.distill.prepare.preparation import PrepareOptions
    from pocketportrait.distill.prepare.preparation import prepare as prepare_videos
    from pocketportrait.distill.prepare.settings import Settings, read_settings

    # every option that is named as a threshold is one
    thresholds = {n: v for n, v in context.params.items() if n in Settings.model_fields}
    settings = read_settings(thresholds)
    with needs("ray"):
        where = open_executor(executor, jobs)
    options = PrepareOptions(
        videos=tuple(videos),
        out=out,
        licence=licence,
        origin=origin,
        settings=settings,
        score_models=score_models,
        executor=where,
    )
    with needs("prepare"), counted("prepare") as tell:
        made = prepare_videos(options, tell)
    _print(made)


def _print(made: Prepared) -> None:
    for note in made.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"videos: {made.num_videos}, {made.num_new} of them now")
    for split, count in sorted(made.clips.items()):
        typer.echo(f"{split}: {count} clips of {made.people[split]} people")
    typer.echo(f"seconds: {made.seconds:.1f}")
    rejected = ", ".join(f"{count} {reason}" for reason, count in made.rejected.items())
    typer.echo(f"rejected: {rejected or 'nothing'}")
    typer.echo(f"report: {made.report}")
    typer.echo(f"manifest: {made.manifest}")
