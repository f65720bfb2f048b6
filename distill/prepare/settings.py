"""What decides which clips come out: thresholds with measured defaults, and where the videos are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketportrait.errors import InputError

ORIGINS = ("footage", "animated_or_edited_output")
BY_SOURCE = "source file"  # how people are told apart without a face-recognition network

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Everything but the videos that the clips depend on; docs/prepare.md has the measurements."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cut_levels: Positive = 27.0  # change of hue, saturation and brightness between two frames
    calm_cut_levels: Positive = 15.0  # the same, where it stands out from its neighbours
    calm_cut_ratio: Positive = 8.0  # times the mean of the two frames before and behind
    shortest_s: Positive = 2.0
    longest_s: Positive = 10.0
    most_rate_hz: Positive = 30.0  # faster videos lose every second, third, ... frame
    least_face_px: float = 90.0  # larger side of the landmark box in the source
    least_seen: Share = 0.9  # looks that find the face
    most_others: Share = 0.1  # looks that find another face inside the crop
    most_outside: Share = 0.02  # part of the crop's side that the picture does not have
    most_leaving: Share = 0.05  # looks whose face is not wholly inside the crop
    least_sharpness: float = 20.0  # variance of the Laplacian, levels^2
    least_motion: float = 5.0  # standard deviation over time, levels
    most_strokes: float = 14.0  # standing strokes on a line across the face
    copy_bits: float = 6.0  # of 64, mean distance of hashes
    copy_alike: float = 0.8  # correlation over time
    identity_distance: Share = 0.52  # 1 - cosine, average linkage
    identity_apart: Share = 0.5  # cosine between train and val
    val_share: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of the people
    shard_mb: Positive = 256.0
    identity_model: str = BY_SOURCE  # or the sha256 of the face-recognition network

    @property
    def by_face(self) -> bool:
        """Whether people are told apart by a network."""
        return self.identity_model != BY_SOURCE


class Rights(BaseModel):
    """What is said about videos by those who bring them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licence: str
    origin: str = ORIGINS[0]


def read_settings(thresholds: Mapping[str, float]) -> Settings:
    """Return settings with these thresholds.

    Raises:
        InputError: one is out of its range; the message names it.

    """
    try:
        settings = Settings.model_validate(dict(thresholds))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{name}: {first['msg']}, got {first['input']}") from error
    if settings.longest_s < settings.shortest_s:
        raise InputError(
            f"want a longest clip of at least the shortest ({settings.shortest_s:g} s), got "
            f"{settings.longest_s:g} s"
        )
    return settings
