"""A photo performs a driving video: crops found, frames streamed through a session, a video written.

Memory does not grow with the clip: one frame is held at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.bundle.manifest import MANIFEST
from pocketportrait.contract import Array
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.media.credentials import Origin, can_sign, sha256_of, write_credentials
from pocketportrait.media.crop import SquareCrop, cut, ready_crop
from pocketportrait.media.detector import CenterFaceDetector, FaceDetector
from pocketportrait.media.driving import find_crop
from pocketportrait.media.framing import FoundCrop, find_photo_crop
from pocketportrait.media.label import draw_label
from pocketportrait.media.paste import paste
from pocketportrait.media.photo import limit_side, read_photo
from pocketportrait.media.samples import sample_drivers, sample_photos
from pocketportrait.media.signing import Identity, local_identity
from pocketportrait.media.source_type import write_source_type
from pocketportrait.media.still import StillWriter, is_still
from pocketportrait.media.video import VideoReader, VideoWriter
from pocketportrait.media.video_writer import LONGEST_SIDE_PX
from pocketportrait.runtime.animation_report import AnimationReport, CropFacts, GraphTiming
from pocketportrait.runtime.codes import Motion
from pocketportrait.runtime.runner import is_emulated
from pocketportrait.runtime.session import Session

ASSETS = "assets"
DEFAULT_BUNDLE = "default_bundle"  # a folder or a .zip in the package's assets
PREFERRED_PRECISION = "fp32"

Progress = Callable[[int, int | None], None]  # frames done, frames in all where that is known


@dataclass(frozen=True, slots=True)
class AnimationOptions:
    """How to animate; the defaults are what most people want."""

    bundle: Path | None = None  # None: the one that ships in the package
    format: str = "onnx"
    precision: str | None = None  # None: fp32 where the bundle has it, else its first
    motion: Motion = "relative"
    crop: bool = True  # find faces; False: pictures are framed already
    full_frame: bool = False  # paste the result back into the whole photo
    lossless: bool = False
    threads: int | None = None
    runner: str | None = None
    label: bool = False  # "AI-generated" in a corner of every frame
    credentials: bool = False  # say in the file how it was made, signed
    identity: Identity | None = None  # who signs; None: this machine's own, made at first use
    consent: str | None = None  # who agreed that the photo is animated; kept in the credentials


def default_bundle() -> Path:
    """Return the bundle that ships in the package.

    Raises:
        InputError: this installation has none.

    """
    assets = Path(str(resources.files("pocketportrait") / ASSETS))
    for path in (assets / DEFAULT_BUNDLE, assets / f"{DEFAULT_BUNDLE}.zip"):
        if path.exists():
            return path
    raise InputError("want a bundle, and this installation ships none; give one with --bundle")


def animate(
    photo: Path | None,
    driving: Path | None,
    out: Path,
    options: AnimationOptions | None = None,
    *,
    detector: FaceDetector | None = None,
    progress: Progress = lambda done, total: None,
) -> AnimationReport:
    """Animate a photo by a driving video and write the result, whole or not at all.

    Args:
        photo: any photo with a face; None takes a sample.
        driving: any video with a face; None takes a sample. Its sound is copied.
        out: .mp4, .m4v, .mov or .mkv file to write or replace; or .png or .jpg, if one picture drives.
        options: see `AnimationOptions`.
        detector: who finds faces; CenterFace by default, loaded only where a crop is searched.
        progress: told after every frame.

    Returns:
        what was done, with warnings for the user.

    Raises:
        InputError: a photo, video, bundle or option that cannot be used; nothing is written.
        MissingToolError: no runner of the format can be used here.

    """
    options = options or AnimationOptions()
    start = time.perf_counter()
    with ExitStack() as stack:
        job = _Job(photo, driving, out, options, detector)
        bundle = stack.enter_context(Bundle.open(options.bundle or default_bundle()))
        session = stack.enter_context(_open_session(bundle, options, job.motion))
        made_by = _origin(job, bundle, session.variant) if options.credentials else None
        # entered before faces are searched, so that an unwritable place fails at once
        writer = job.writer(session.side)
        stack.enter_context(writer)
        frames = _run(job, session, writer, progress)
    if made_by is not None:
        job.sign(made_by)
    return job.report(session, frames, time.perf_counter() - start, writer.note)


class _Job:
    """What one animation reads, where it crops, and what it has to say about that."""

    def __init__(
        self,
        photo: Path | None,
        driving: Path | None,
        out: Path,
        options: AnimationOptions,
        detector: FaceDetector | None,
    ) -> None:
        self.photo_path = photo or sample_photos()[0]
        self.options, self.out = options, out
        self.warnings: list[str] = []
        self.photo = self._limited(read_photo(self.photo_path))
        self.reader = VideoReader(driving or sample_drivers()[0])
        for source in (self.photo_path, self.reader.path):
            if out.exists() and out.samefile(source):
                raise InputError(f"{out}: want another file than the one that is read; rename it")
        self._detector = detector
        self.motion: Motion = options.motion
        if is_still(out) and self.motion == "relative":
            # one picture has not moved since its first frame: nothing would be transferred
            self.motion = "absolute"
            self.warnings.append(f"{out}: a still takes the driver's pose and expression: absolute")
        # the samples are framed as the student wants them
        self._crop_photo = options.crop and photo is not None
        self._crop_driving = options.crop and driving is not None

    def writer(self, side: int) -> VideoWriter | StillWriter:
        """Return a writer of pictures as large as they will be."""
        if is_still(self.out):
            return StillWriter(self.out)
        height, width = self.photo.shape[:2]
        size = (width, height) if self.options.full_frame else (side, side)
        return self.reader.writer(self.out, size, lossless=self.options.lossless)

    def sign(self, origin: Origin) -> None:
        """Say in the finished file how it was made, as far as its format can."""
        write_source_type(self.out)
        if not can_sign(self.out):
            self.warnings.append(
                f"{self.out}: {self.out.suffix} holds no Content Credentials; choose .mp4"
            )
            return
        try:
            write_credentials(self.out, origin, self.options.identity or local_identity())
        except MissingToolError as error:
            self.warnings.append(f"{self.out}: has no Content Credentials: {error}")

    def find_crops(self) -> tuple[SquareCrop, SquareCrop]:
        """Return the crops of the photo and of the driving video."""
        size = (self.photo.shape[1], self.photo.shape[0])
        self.photo_crop = (
            find_photo_crop(self.photo, self._detecting(), str(self.photo_path))
            if self._crop_photo
            else self._ready(size, self.photo_path)
        )
        self.driving_crop = (
            find_crop(self.reader, self._detecting())
            if self._crop_driving
            else self._ready((self.reader.facts.width, self.reader.facts.height), self.reader.path)
        )
        self.warnings += [*self.photo_crop.notes, *self.driving_crop.notes]
        return self.photo_crop.crop, self.driving_crop.crop

    def report(
        self, session: Session, frames: int, seconds: float, writer_note: str | None
    ) -> AnimationReport:
        """Return the facts of the finished animation."""
        if self.reader.damage:
            self.warnings.append(f"{self.reader.path}: {self.reader.damage}")
        if writer_note:
            self.warnings.append(writer_note)
        return AnimationReport(
            photo=str(self.photo_path),
            driving=str(self.reader.path),
            out=str(self.out),
            variant=session.variant,
            runner=session.runner,
            emulated=is_emulated(session.runner),
            motion=self.motion,
            frames=frames,
            seconds=seconds,
            photo_crop=_crop_facts(self.photo_crop),
            driving_crop=_crop_facts(self.driving_crop),
            timings={graph: _timing(times) for graph, times in session.timings_ms.items()},
            warnings=tuple(self.warnings),
        )

    def _limited(self, photo: Array) -> Array:
        if not self.options.full_frame or max(photo.shape[:2]) <= LONGEST_SIDE_PX:
            return photo
        self.warnings.append(
            f"{self.photo_path}: scaled down to {LONGEST_SIDE_PX} px, the most a video holds"
        )
        return limit_side(photo, LONGEST_SIDE_PX)

    def _detecting(self) -> FaceDetector:
        if self._detector is None:
            self._detector = CenterFaceDetector()
        return self._detector

    def _ready(self, size: tuple[int, int], path: Path) -> FoundCrop:
        notes: tuple[str, ...] = ()
        if size[0] != size[1]:
            notes = (f"{path}: not square ({size[0]}x{size[1]}); its centred square is used",)
        return FoundCrop(ready_crop(size), 0, notes)


def _origin(job: _Job, bundle: Bundle, variant: str) -> Origin:
    return Origin(
        bundle_sha256=sha256_of(bundle.root / MANIFEST),
        bundle_id=bundle.manifest.model.get("bundle_id"),
        variant=variant,
        photo_sha256=sha256_of(job.photo_path),
        driving_sha256=sha256_of(job.reader.path),
        consent=job.options.consent,
        visible_label=job.options.label,
    )


def _open_session(bundle: Bundle, options: AnimationOptions, motion: Motion) -> Session:
    precision = options.precision
    if precision is None:
        held = list(bundle.manifest.variants.get(options.format, {}))
        precision = (
            PREFERRED_PRECISION
            if PREFERRED_PRECISION in held
            else next(iter(held), PREFERRED_PRECISION)
        )
    return Session.open(
        bundle,
        options.format,
        precision,
        motion=motion,
        threads=options.threads,
        runner=options.runner,
    )


def _run(job: _Job, session: Session, writer: VideoWriter | StillWriter, progress: Progress) -> int:
    photo_crop, driving_crop = job.find_crops()
    session.set_photo(cut(job.photo, photo_crop, session.side))
    total, done = job.reader.facts.num_frames, 0
    for frame in job.reader.frames():
        picture = session.step(cut(frame.rgb, driving_crop, session.side))
        whole = paste(job.photo, photo_crop, picture) if job.options.full_frame else picture
        writer.write(draw_label(whole) if job.options.label else whole, frame.pts)
        done += 1
        progress(done, total)
    return done


def _crop_facts(found: FoundCrop) -> CropFacts:
    crop = found.crop
    return CropFacts(x_px=crop.x, y_px=crop.y, side_px=crop.side, num_faces=found.num_faces)


def _timing(times_ms: Iterable[float]) -> GraphTiming:
    times = list(times_ms)
    p50_ms, p95_ms = np.percentile(times, [50, 95])
    return GraphTiming(passes=len(times), p50_ms=float(p50_ms), p95_ms=float(p95_ms))
