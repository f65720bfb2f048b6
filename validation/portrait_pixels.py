"""Pixel figures of an animated clip against the clip that it should be: L1, PSNR and SSIM.

Frames come one pair at a time and are not kept.
"""

from __future__ import annotations

import numpy as np

from pocketportrait.contract import Array

SSIM_STRIDE = 3  # every third frame: structure changes slowly, and SSIM is the dearest pixel figure
SSIM_WINDOW = 7
LEAST_MSE = 1e-10  # equal frames count as 100 dB


class PixelTally:
    """Means over the frames of one clip."""

    def __init__(self) -> None:
        self._l1: list[float] = [0.0, 0]
        self._psnr_db: list[float] = [0.0, 0]
        self._ssim: list[float] = [0.0, 0]

    def add(self, index: int, output: Array, target: Array) -> None:
        """Take a pair of frames.

        Args:
            index: of the frame in its clip; SSIM looks at each `SSIM_STRIDE`-th.
            output: uint8 [H, W, 3].
            target: the same shape.

        """
        difference = (output.astype(np.float64) - target) / 255
        _count(self._l1, float(np.abs(difference).mean()))
        mse = float((difference**2).mean()) + LEAST_MSE
        _count(self._psnr_db, float(-10 * np.log10(mse)))
        if index % SSIM_STRIDE == 0:
            _count(self._ssim, ssim(output, target))

    def figures(self) -> dict[str, float]:
        """Return `l1` (0..1), `psnr_db` and `ssim`, each the mean of its frames; empty without frames."""
        sums = {"l1": self._l1, "psnr_db": self._psnr_db, "ssim": self._ssim}
        return {name: total / count for name, (total, count) in sums.items() if count}


def ssim(one: Array, other: Array) -> float:
    """Return the structural similarity (Wang et al. 2004) of two pictures, the mean of their channels.

    The window is a flat square of `SSIM_WINDOW` pixels; borders are mirrored.

    Args:
        one: uint8 [H, W, 3].
        other: the same shape.

    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = _box_mean(a), _box_mean(b)
    variances = _box_mean(a * a) - mean_a**2 + _box_mean(b * b) - mean_b**2
    covariance = _box_mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


def _box_mean(values: Array) -> Array:
    half = SSIM_WINDOW // 2
    padded = np.pad(values, ((half, half), (half, half), (0, 0)), mode="reflect")
    height, width = values.shape[:2]
    rows = sum(padded[k : k + height] for k in range(SSIM_WINDOW))
    assert isinstance(rows, np.ndarray)
    both = sum(rows[:, k : k + width] for k in range(SSIM_WINDOW))
    return np.asarray(both) / SSIM_WINDOW**2


def _count(sums: list[float], value: float) -> None:
    sums[0] += value
    sums[1] += 1
