"""What is known of a video and of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from pocketportrait.contract import Array


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a video before it is decoded as a whole; sizes are those of upright frames."""

    width: int
    height: int
    rate: Fraction  # mean frames a second, as the container says
    time_base: Fraction  # seconds of one tick of `VideoFrame.pts`
    duration_s: float | None
    num_frames: int | None  # as the container says; damaged files have fewer
    start: Fraction  # seconds at which the first frame stands on the container's clock
    has_audio: bool

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON holds them; `from_json` reads them back."""
        return {
            "width": self.width,
            "height": self.height,
            "rate": str(self.rate),
            "time_base": str(self.time_base),
            "duration_s": self.duration_s,
            "num_frames": self.num_frames,
            "start": str(self.start),
            "has_audio": self.has_audio,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            ValueError: a fact is missing or none.

        """
        try:
            duration_s, num_frames = said["duration_s"], said["num_frames"]
            facts = cls(
                width=int(said["width"]),
                height=int(said["height"]),
                rate=Fraction(said["rate"]),
                time_base=Fraction(said["time_base"]),
                duration_s=None if duration_s is None else float(duration_s),
                num_frames=None if num_frames is None else int(num_frames),
                start=Fraction(said["start"]),
                has_audio=bool(said["has_audio"]),
            )
        except (KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"want the facts of a video, got {dict(said)}") from error
        if facts.width <= 0 or facts.height <= 0 or facts.rate <= 0 or facts.time_base <= 0:
            raise ValueError(f"want the facts of a video, got {dict(said)}")
        return facts


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One upright frame and its time."""

    index: int
    pts: int  # in ticks of `VideoFacts.time_base`; strictly increasing
    time_s: float
    rgb: Array  # uint8 [H, W, 3]
