"""What an animation did, as data: for the terminal, for JSON, for the demo's report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import __version__, atomic


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphTiming(_Fact):
    """Times of one graph, with what converts its tensors; the last 10,000 passes."""

    passes: int
    p50_ms: float
    p95_ms: float


class CropFacts(_Fact):
    """The square that was cut, in pixels of its source; `num_faces` is 0 where nobody looked."""

    x_px: float
    y_px: float
    side_px: float
    num_faces: int


class AnimationReport(_Fact):
    """One animation, as it was made."""

    schema_version: Literal[1] = 1
    tool: str = f"pocketportrait {__version__}"
    photo: str
    driving: str
    out: str
    variant: str  # format/precision
    runner: str
    emulated: bool  # then times are not the latency of any device
    motion: str
    frames: int
    seconds: float  # all of it: loading, finding faces, decoding, encoding
    photo_crop: CropFacts
    driving_crop: CropFacts
    timings: dict[str, GraphTiming]
    warnings: tuple[str, ...] = ()

    @property
    def frame_ms(self) -> float:
        """Median milliseconds that the graphs took for one frame: motion and render."""
        return self.timings["motion"].p50_ms + self.timings["render"].p50_ms

    def to_json(self, path: Path) -> None:
        """Write the report atomically."""
        atomic.write_bytes(path, self.model_dump_json(indent=2).encode() + b"\n")
