"""The crop of a driving video, which is fixed: a crop that follows the head would hide its motion."""

from __future__ import annotations

from pathlib import Path

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import SquareCrop, median_crop
from pocketportrait.media.detector import FaceDetector
from pocketportrait.media.framing import FaceTracks, FoundCrop, crop_notes
from pocketportrait.media.video import VideoReader

EVERY = 5  # frames between two looks at a file
SETTLE_S = 1.0  # how long a camera looks before its crop is fixed


def find_crop(
    video: Path | VideoReader, detector: FaceDetector, *, every: int = EVERY
) -> FoundCrop:
    """Run through a video once and return one crop for all of its frames.

    Args:
        video: a file; nothing of it is kept.
        detector: who looks at each `every`-th frame.
        every: frames between two looks.

    Raises:
        InputError: the file cannot be used (as `VideoReader`), or shows no face.

    """
    reader = video if isinstance(video, VideoReader) else VideoReader(video)
    tracks = FaceTracks()
    for frame in reader.frames(every=every):
        tracks.add(detector.detect(frame.rgb))
    faces = tracks.main()
    if not faces:
        raise InputError(
            f"{reader.path}: want a driving video with a face, got none in {tracks.num_looks} frames; "
            "take another video, or use --no-crop if it is cropped already"
        )
    crop = median_crop(faces, (reader.facts.width, reader.facts.height))
    notes = crop_notes(crop, tracks.num_faces, str(reader.path))
    if 2 * len(faces) < tracks.num_looks:
        seen = f"{len(faces)} of {tracks.num_looks}"
        notes += (f"{reader.path}: the face is found in only {seen} frames",)
    return FoundCrop(crop, tracks.num_faces, notes)


class CameraCrop:
    """The crop of a live camera: it follows for the first second with a face, then stays."""

    def __init__(self, detector: FaceDetector, *, settle_s: float = SETTLE_S) -> None:
        """Start without a crop.

        Args:
            detector: who looks, until the crop is fixed.
            settle_s: seconds from the first face to the fixed crop.

        """
        self.crop: SquareCrop | None = None
        self.fixed = False
        self._detector = detector
        self._settle_s = settle_s
        self._first_s: float | None = None
        self._tracks = FaceTracks()

    def update(self, rgb: Array, time_s: float) -> SquareCrop | None:
        """Take the next frame; return the crop to use for it, or None before the first face."""
        if self.fixed:
            return self.crop
        self._tracks.add(self._detector.detect(rgb))
        faces = self._tracks.main()
        if not faces:
            return None
        if self._first_s is None:
            self._first_s = time_s
        self.crop = median_crop(faces, (rgb.shape[1], rgb.shape[0]))
        self.fixed = time_s - self._first_s >= self._settle_s
        return self.crop
