"""Where a face is in a picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaceBox:
    """One face as an upright rectangle; source pixels, y down, parts may lie outside the picture."""

    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    @property
    def width(self) -> float:
        """The horizontal extent in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The vertical extent in pixels."""
        return self.bottom - self.top

    @property
    def center(self) -> tuple[float, float]:
        """The middle as (x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def area(self) -> float:
        """Square pixels: what "the largest face" compares."""
        return self.width * self.height

    def overlap(self, other: FaceBox) -> float:
        """Return intersection over union with another box, 0..1."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        shared = max(0.0, width) * max(0.0, height)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0
