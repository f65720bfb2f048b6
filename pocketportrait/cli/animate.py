"""`pocketportrait animate`."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketportrait.cli.app import app
from pocketportrait.cli.progress import counted
from pocketportrait.errors import InputError

if TYPE_CHECKING:
    from pocketportrait.media.signing import Identity


class MotionKind(enum.StrEnum):
    """How the driver's motion is transferred."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


Photo = Annotated[Path | None, typer.Argument(help="A photo with a face; a sample by default.")]
Driving = Annotated[Path | None, typer.Argument(help="A video with a face; a sample by default.")]
Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="The video to write; or a .png or .jpg, if DRIVING is a picture."
    ),
]
BundlePath = Annotated[
    Path | None, typer.Option(help="A folder or .zip; the shipped bundle by default.")
]
Format = Annotated[str, typer.Option("--format", "-f", help="onnx, tflite or coreml.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", "-p", help="A variant's name; fp32 where the bundle has it."),
]
Motion = Annotated[
    MotionKind,
    typer.Option(
        help="relative: how the driver moves from its first frame on; absolute: where it is."
    ),
]
FullFrame = Annotated[
    bool, typer.Option("--full-frame", help="Paste the face into the whole photo.")
]
NoCrop = Annotated[bool, typer.Option("--no-crop", help="Photo and video are framed already.")]
Lossless = Annotated[bool, typer.Option("--lossless", help="Keep every pixel; large files.")]
RunnerName = Annotated[
    str | None, typer.Option(help="Run with this runner, such as tflite-runtime.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the engine chooses by default.")]
Consent = Annotated[
    str | None,
    typer.Option(help="Who agreed that this photo is animated; asked once where it is not given."),
]
Label = Annotated[
    bool, typer.Option("--label/--no-label", help='"AI-generated" in a corner of every frame.')
]
Certificate = Annotated[
    Path | None, typer.Option(help="Sign with this certificate chain (PEM, P-256, leaf first).")
]
CertificateKey = Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")]
JsonPath = Annotated[Path | None, typer.Option("--json", help="Write what was done as JSON here.")]


@app.command()
def animate(
    photo: Photo = None,
    driving: Driving = None,
    out: Out = Path("out/animation.mp4"),
    bundle: BundlePath = None,
    format: Format = "onnx",
    precision: Precision = None,
    motion: Motion = MotionKind.RELATIVE,
    full_frame: FullFrame = False,
    no_crop: NoCrop = False,
    lossless: Lossless = False,
    runner: RunnerName = None,
    threads: Threads = None,
    consent: Consent = None,
    label: Label = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    json: JsonPath = None,
) -> None:
    """Let a photo perform a driving video, through the exported files of a bundle."""
    # engines and video libraries take a while to import; `--help` must not pay for them
    from pocketportrait.media.still import is_still
    from pocketportrait.runtime.animation import AnimationOptions
    from pocketportrait.runtime.animation import animate as animate_files

    agreed = _consent(photo, consent)
    options = AnimationOptions(
        bundle=bundle,
        format=format,
        precision=precision,
        motion=motion.value,
        crop=not no_crop,
        full_frame=full_frame,
        lossless=lossless,
        threads=threads,
        runner=runner,
        label=label,
        credentials=True,
        identity=_identity(certificate, certificate_key),
        consent=agreed.words,
    )
    with counted("animate") as tell:
        report = animate_files(photo, driving, out, options, progress=tell)
    agreed.keep()
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    speed = "evaluated, so not timed" if report.emulated else f"{report.frame_ms:.1f} ms a frame"
    typer.echo(
        f"{report.frames} frames in {report.seconds:.1f} s: {report.variant}, {report.runner}, {speed}"
    )
    typer.echo(f"{'picture' if is_still(out) else 'video'}: {out}")
    if json:
        report.to_json(json)


def _identity(certificate: Path | None, key: Path | None) -> Identity | None:
    from pocketportrait.media.signing import Identity

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InputError("want --certificate and --certificate-key together, got one of them")
    return Identity.of_files(certificate, key)


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What was agreed to, and about which photo where that is not recorded yet."""

    words: str
    photo: Path | None = None

    def keep(self) -> None:
        """Record it: beside a photo that was refused nothing is written, so this comes last."""
        from pocketportrait.media import consent

        if self.photo is None:
            return
        try:
            consent.record_consent(self.photo, self.words)
        except InputError as error:
            typer.echo(f"warning: consent is kept in the video alone: {error}", err=True)


def _consent(photo: Path | None, given: str | None) -> _Agreed:
    """Return the consent to animate a photo: given, recorded, or asked for at a terminal."""
    from pocketportrait.media import consent
    from pocketportrait.media.samples import sample_photos

    path = photo or sample_photos()[0]
    recorded = consent.recorded_consent(path)
    if given is None and recorded is not None:
        return _Agreed(recorded)
    if given is None:
        if not sys.stdin.isatty():
            raise InputError(
                f'{path}: want the consent of who is shown, got none; give --consent "who, to what"'
            )
        given = typer.prompt(
            f"{path}: who agreed that this photo is animated? (kept beside it and in the video)"
        )
    said = consent.checked_consent(given)
    # the package's own files stay as they are
    return _Agreed(said) if consent.is_sample(path) else _Agreed(said, path)
