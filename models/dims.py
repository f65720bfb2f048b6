"""The sizes of a student, in one place, and the presets that we ship."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from pocketportrait.contract import POSE, GraphSpec, TensorSpec, image_spec
from pocketportrait.errors import InputError


@dataclass(frozen=True, slots=True)
class StudentDims:
    """Sizes of the three graphs; features live at side/4, flow at side/8, skip at side/2."""

    side: int = 256  # picture side in pixels, a multiple of 64
    code: int = 64  # length of a code: 6 pose values, the rest is expression
    motion: tuple[int, ...] = (16, 32, 48, 96, 128)  # motion encoder: channels at side/2 .. side/32
    motion_head: int = 256  # hidden units of the motion encoder's head
    stem: int = 32  # appearance channels at side/2
    appearance_blocks: int = 3  # residual blocks at side/4
    features: int = 64  # appearance channels at side/4, warped
    skip: int = 8  # shallow channels at side/2, warped
    flow: int = 48  # flow net channels at side/8
    flow_deep: int = 64  # flow net channels at side/16
    guide: int = 32  # flow net channels at side/4
    refine: int = 24  # hidden channels of the second look at the fields
    embed: int = 128  # length of the vector that modulates the renderer
    seed: int = 24  # channels of the 8x8 map that the codes alone decide
    blocks: int = 2  # residual blocks on the warped features
    up: int = 28  # renderer channels at side/2, beside the skip
    mix: int = 32  # renderer channels at side/2 after the skip joined
    out: int = 12  # renderer channels at full side

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for name, value in dataclasses.asdict(self).items():
            sizes = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(size, int) and size > 0 for size in sizes):
                raise InputError(f"{name}: want whole numbers above 0, got {value!r}")
        if self.side < 64 or self.side % 64:
            raise InputError(f"side: want a multiple of 64, got {self.side}")
        if not len(POSE) < self.code <= 128:
            raise InputError(f"code: want more than {len(POSE)} and at most 128, got {self.code}")
        if len(self.motion) != 5:
            raise InputError(f"motion: want 5 widths, got {len(self.motion)}")

    def to_json(self) -> str:
        """Return these sizes as one line of JSON, for a file's metadata."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> StudentDims:
        """Read what `to_json` wrote.

        Raises:
            InputError: a name is missing or unknown, or a size cannot be built.

        """
        try:
            values = json.loads(text)
            values["motion"] = tuple(int(v) for v in values["motion"])
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"dims: want the sizes of a student as JSON, got {text[:80]!r} ({error})"
            ) from error


def phone() -> StudentDims:
    """Return the sizes of the student that we ship."""
    return StudentDims()


def native() -> StudentDims:
    """Return the sizes of our own teacher: the student's design at eleven times its cost a frame."""
    return StudentDims(
        motion=(48, 96, 160, 320, 448),
        motion_head=512,
        stem=64,
        appearance_blocks=5,
        features=160,
        skip=16,
        flow=128,
        flow_deep=192,
        guide=80,
        refine=64,
        embed=256,
        seed=48,
        blocks=6,
        up=72,
        mix=96,
        out=36,
    )


def tiny() -> StudentDims:
    """Return sizes for tests: every part of the student, milliseconds a pass."""
    return StudentDims(
        side=64,
        code=16,
        motion=(8, 8, 12, 12, 16),
        motion_head=24,
        stem=8,
        appearance_blocks=1,
        features=16,
        flow=12,
        flow_deep=12,
        guide=8,
        refine=8,
        embed=16,
        seed=4,
        blocks=1,
        up=8,
        mix=8,
        out=8,
    )


PRESETS = {"phone": phone, "native": native, "tiny": tiny}


def dims_of(preset: str) -> StudentDims:
    """Return the sizes of a preset, or of a file that says what is unlike `phone`.

    Args:
        preset: a name, or a path that ends in .json: an object with some of the sizes.

    Raises:
        InputError: no such name or file, a size that there is not, or one that cannot be built.

    """
    if not preset.endswith(".json"):
        if preset not in PRESETS:
            raise InputError(
                f"preset: want one of {sorted(PRESETS)} or a .json file of sizes, got {preset!r}"
            )
        return PRESETS[preset]()
    try:
        changed = json.loads(Path(preset).read_text())
        sizes = dataclasses.asdict(phone())
        if not isinstance(changed, dict):
            raise TypeError(f"{type(changed).__name__}")
        if strange := sorted(changed.keys() - sizes):
            raise InputError(f"{preset}: want sizes of {sorted(sizes)}, got {', '.join(strange)}")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{preset}: want a JSON object of sizes, got: {error}") from error
    return StudentDims.from_json(json.dumps(sizes | changed))


def graph_specs(dims: StudentDims) -> dict[str, GraphSpec]:
    """Return the three graphs of a student with these sizes: names, shapes, ranges."""
    side = dims.side
    code = TensorSpec("code", (1, dims.code), layout="NC")
    features = (
        TensorSpec("features", (1, dims.features, side // 4, side // 4)),
        TensorSpec("features_flow", (1, dims.flow, side // 8, side // 8)),
        TensorSpec("features_skip", (1, dims.skip, side // 2, side // 2)),
    )
    codes = tuple(dataclasses.replace(code, name=name) for name in ("source_code", "driving_code"))
    return {
        "appearance": GraphSpec("appearance", (image_spec("photo", side),), features),
        "motion": GraphSpec("motion", (image_spec("frame", side),), (code,)),
        "render": GraphSpec("render", features + codes, (image_spec("image", side),)),
    }
