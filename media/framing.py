"""From the faces that a detector sees to one crop, and what the user should know about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pocketportrait.contract import Array
from pocketportrait.errors import InputError
from pocketportrait.media.crop import SIDE_PX, SquareCrop, crop_for_face
from pocketportrait.media.detector import FaceDetector
from pocketportrait.media.face import FaceBox

SAME_FACE_OVERLAP = 0.2  # between two looks at one head, a fifth of a second apart
SMALLEST_SHARP_PX = SIDE_PX // 2


@dataclass(frozen=True, slots=True)
class FoundCrop:
    """A crop and how it was found."""

    crop: SquareCrop
    num_faces: int  # the most that were seen at once
    notes: tuple[str, ...] = ()  # each one line for the user


class FaceTracks:
    """Faces over time: who is who by overlap, so that two people never share one crop."""

    def __init__(self) -> None:
        self.num_looks = 0
        self.num_faces = 0
        self._tracks: list[list[FaceBox]] = []

    def add(self, faces: Sequence[FaceBox]) -> None:
        """Take the faces of the next frame that was looked at."""
        self.num_looks += 1
        self.num_faces = max(self.num_faces, len(faces))
        free = list(self._tracks)
        for face in faces:
            best = max(free, key=lambda track: track[-1].overlap(face), default=None)
            if best is not None and best[-1].overlap(face) > SAME_FACE_OVERLAP:
                best.append(face)
                free = [track for track in free if track is not best]
            else:
                self._tracks.append([face])

    def main(self) -> list[FaceBox]:
        """Return the boxes of the face that fills most pixels over time; empty without faces."""
        return max(self._tracks, key=lambda track: sum(face.area for face in track), default=[])


def find_photo_crop(photo: Array, detector: FaceDetector, name: str) -> FoundCrop:
    """Frame the largest face of a photo.

    Args:
        photo: uint8 [H, W, 3].
        detector: who looks.
        name: of the photo, for messages.

    Raises:
        InputError: there is no face.

    """
    faces = detector.detect(photo)
    if not faces:
        raise InputError(
            f"{name}: want a photo with a face, got none that can be found; take another photo, or "
            "use --no-crop if it is cropped already"
        )
    crop = crop_for_face(faces[0], (photo.shape[1], photo.shape[0]))
    return FoundCrop(crop, len(faces), crop_notes(crop, len(faces), name))


def crop_notes(crop: SquareCrop, num_faces: int, name: str) -> tuple[str, ...]:
    """Return what should be said about a crop: several faces, a small face."""
    notes = []
    if num_faces > 1:
        notes.append(f"{name}: {num_faces} faces; the largest is used")
    if crop.side < SMALLEST_SHARP_PX:
        notes.append(f"{name}: the face fills only {crop.side:.0f} px; expect a soft picture")
    return tuple(notes)
