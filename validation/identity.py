"""Who a face is: a unit vector by a face-recognition network, whose dot products are cosines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import InputError

# Where five points of an upright face lie in a 112 x 112 picture, as such networks are trained with:
# eyes (viewer's left first), tip of the nose, corners of the mouth.
TEMPLATE = np.array(
    [[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32
)
TEMPLATE_SIDE_PX = 112
EYE_CORNERS = ([33, 133], [362, 263])  # of the 478 points, viewer's left eye first
NOSE_TIP, MOUTH_CORNERS = 1, [61, 291]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class IdentityNetwork:
    """A recognition network in ONNX: pictures [1, 3, 112, 112] in, one vector out."""

    def __init__(self, path: Path) -> None:
        """Load the file.

        Raises:
            InputError: ONNX Runtime cannot load it.

        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no narrower class
            raise InputError(
                f"{path}: want a face-recognition network in ONNX, got a file that does not load"
                f" ({str(error).splitlines()[0]}); copy it again, with its .data file"
            ) from error
        self._input = self._session.get_inputs()[0].name

    def embed(self, picture: Array, points: Array) -> Array:
        """Return the mean embedding of a face and its mirror image.

        Args:
            picture: uint8 [H, W, 3].
            points: [478, 2] in pixels of that picture.

        Returns:
            float32 [D] of unit length.

        """
        aligned = align(picture, points)
        total: Array | None = None
        for view in (aligned, aligned[:, ::-1]):
            values = (view / 255 - MEAN) / STD
            feed = {self._input: values.transpose(2, 0, 1)[None].astype(np.float32)}
            embedding = self._session.run(None, feed)[0][0]
            total = embedding if total is None else total + embedding
        assert total is not None
        return np.asarray(total / np.linalg.norm(total), np.float32)


def align(picture: Array, points: Array) -> Array:
    """Return the face turned and scaled to the template, uint8 [112, 112, 3].

    The similarity is a least-median-of-squares fit: a profile's far eye does not bend it.
    """
    import cv2

    eyes = [points[corners].mean(axis=0) for corners in EYE_CORNERS]
    have = np.stack([*eyes, points[NOSE_TIP], *points[MOUTH_CORNERS]]).astype(np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(have, TEMPLATE, method=cv2.LMEDS)
    size = (TEMPLATE_SIDE_PX, TEMPLATE_SIDE_PX)
    return np.asarray(cv2.warpAffine(picture, matrix, size))
