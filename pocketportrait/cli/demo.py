"""`pocketportrait demo`: the whole way once, from weights to a page that shows what came out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.extras import needs
from pocketportrait.cli.progress import counted, stages

if TYPE_CHECKING:
    from pocketportrait.bundle import Bundle
    from pocketportrait.validation.bench_record import Bench
    from pocketportrait.validation.checks import VerifyReport
    from pocketportrait.validation.report_record import Picture

SHOWN_FRAMES = 10  # of each animation, in the report
TIMED_FRAMES, WARMUP = 30, 5


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all of it.")] = Path(
        "out/demo"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="A student's safetensors file; the shipped one by default.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="As in verify.")] = False,
) -> None:
    """Export, verify, animate the samples, and write report.html; exit 1 if verification fails."""
    from pocketportrait.validation.report import write_report
    from pocketportrait.validation.report_record import BundleFacts, Report
    from pocketportrait.validation.table import print_report

    start = time.perf_counter()
    with _exported(weights, out / "bundle") as bundle:
        report = _verified(bundle)
        print_report(report)
        report.to_json(out / "verify.json")
        code = report.exit_code(strict=strict)
        made = Report(
            title="Pocket Portrait: one photo performs a driving video",
            bundles=(BundleFacts.of(bundle),),
            verifications=(report,),
            benches=(_timed(bundle),) if not code else (),
            pictures=_animated(bundle, out) if not code else (),
        )
    for form in ("html", "json"):
        write_report(made, out / f"report.{form}")
    for row in (row for bench in made.benches for row in bench.variants):
        ms = f"{row.frame.p50_ms:.1f} ms a frame" if row.frame else row.skipped
        typer.echo(f"{row.name}: {ms}")
    typer.echo(f"report: {out / 'report.html'} ({time.perf_counter() - start:.0f} s in all)")
    raise typer.Exit(code)


def _exported(weights: Path | None, out: Path) -> Bundle:
    with needs("export"), stages("export") as tell:
        # torch and the converters take seconds to import; `--help` must not pay for them
        from pocketportrait.export.shipped import export_weights

        return export_weights(weights, out, progress=tell)


def _verified(bundle: Bundle) -> VerifyReport:
    from pocketportrait.validation.verify import verify

    with stages("verify") as tell:
        return verify(bundle, tell=tell)


def _animated(bundle: Bundle, out: Path) -> tuple[Picture, ...]:
    """Animate every sample photo by a sample driver, through the ONNX files."""
    import dataclasses
    import itertools

    from pocketportrait.media.consent import recorded_consent
    from pocketportrait.media.samples import sample_drivers, sample_photos
    from pocketportrait.runtime.animation import AnimationOptions, animate

    # the samples are framed already
    options = AnimationOptions(bundle=bundle.root, crop=False, credentials=True)
    strips: list[Picture] = []
    for photo, driver in zip(sample_photos(), itertools.cycle(sample_drivers()), strict=False):
        video = out / f"{photo.stem}-{driver.stem}.mp4"
        with counted(f"animate {photo.stem}") as tell:
            agreed = dataclasses.replace(options, consent=recorded_consent(photo))
            animate(photo, driver, video, agreed, progress=tell)
        strips.append(_strip(photo, driver, video))
    return tuple(strips)


def _strip(photo: Path, driver: Path, video: Path) -> Picture:
    from pocketportrait.media.crop import cut, ready_crop
    from pocketportrait.media.photo import read_photo
    from pocketportrait.media.video import VideoReader
    from pocketportrait.validation.report_pictures import strip

    drawn = list(VideoReader(video).frames())
    step = max(1, len(drawn) // SHOWN_FRAMES)
    chosen = {frame.index for frame in drawn[::step][:SHOWN_FRAMES]}
    drivers = [frame.rgb for frame in VideoReader(driver).frames() if frame.index in chosen]
    outputs = [frame.rgb for frame in drawn if frame.index in chosen]
    picture = read_photo(photo)
    height, width = picture.shape[:2]
    title = f"{photo.stem.replace('_', ' ')}, performing {driver.stem.replace('_', ' ')}"
    return strip(title, cut(picture, ready_crop((width, height))), drivers, outputs)


def _timed(bundle: Bundle) -> Bench:
    from pocketportrait.validation.bench import (
        BenchOptions,
        all_variants,
        empty_bench,
        measure_variants,
    )

    with stages("time") as tell:
        options = BenchOptions(rounds=TIMED_FRAMES, warmup=WARMUP)
        found = measure_variants(all_variants(bundle), options, tell)
    return empty_bench().model_copy(update={"variants": found})
