"""What a distillation is told: the teacher, the pairs, and the phases that it goes through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pocketportrait.distill.plan import Phase, TeacherKind, TrainOptions, read_plan
from pocketportrait.errors import InputError

Transfer = Literal["relative", "absolute"]
RELATIVE = ("liveportrait", "native")  # kinds that add the driver's change since its first frame
PRECISIONS = ("bf16", "no")
RECORDED = "recorded"  # the kind that looks at no clips
EFFICIENTNET = "efficientnet-lite0"  # what `perceptual` may name instead of a file


def distillation_plan() -> tuple[Phase, ...]:
    """Return the phases of a distillation of the `phone` student: warp, synthesis, joint, critic.

    Nobody has run it to its end yet: lengths follow those of `phone_plan`.
    """
    return (
        Phase("warp", 128, 16, 2000, 6e-4, 0.5),
        Phase("synthesis", 128, 16, 1500, 5e-4, 0.5),
        Phase("joint", 256, 8, 6000, 4e-4, 0.1),
        Phase("joint", 256, 8, 1500, 1e-4, 0.1, critic=0.02),
    )


def read_distillation_plan(path: Path) -> tuple[Phase, ...]:
    """Read phases from a JSON file, as `read_plan`; kinds are warp, synthesis and joint.

    Raises:
        InputError: as `read_plan`.

    """
    return read_plan(path, get_args(TeacherKind))


@dataclass(frozen=True, slots=True)
class DistillOptions(TrainOptions):
    """What `pocketportrait distill` is told, beside what `pocketportrait train` is.

    `data` are labelled clips of several people; a `recorded` teacher has its own and looks at none.
    `labels` are those of `data`.
    """

    teacher: str = ""  # kind
    teacher_weights: Path | None = None  # folder
    transfer: Transfer | None = None  # how the teacher moves the photo; by kind when not given
    device: str = "cpu"  # where the teacher runs
    pairs: int = 200
    frames: int = 32  # the most driving frames of a pair
    shard: str = ""  # "k/n": render this part of the pairs and stop
    store: Path | None = None  # where rendered pairs are kept; out/pairs when not given
    store_labels: Path | None = None  # store/labels when not given
    identity: Path | None = None  # face-recognition network, ONNX or TorchScript
    perceptual: str = ""  # EFFICIENTNET, or the path of a TorchScript file
    own_pairs: float = 0.0  # share of a batch that are pairs of frames of `data`'s own clips
    weights: Mapping[str, float] = field(default_factory=dict)  # of terms, unlike the usual ones
    pose_gradient: float = 0.0  # share of pictures' gradients that reaches the pose slice, 0..1
    frozen_norm: bool = False  # batch norms keep the statistics that they have
    precision: Literal["bf16", "no"] = "bf16"

    def shares(self, batch: int) -> tuple[int, int]:
        """Return how many pairs of a batch are the teacher's, and how many the clips' own."""
        own = round(batch * self.own_pairs)
        return batch - own, own

    def moves(self) -> Transfer:
        """Return how the teacher moves the photo."""
        return self.transfer or ("relative" if self.teacher in RELATIVE else "absolute")


def distillation_options(**told: Any) -> DistillOptions:
    """Return the options of a command line.

    Args:
        **told: fields of `DistillOptions`; `data` may be None for a teacher with pairs of its own.

    Raises:
        InputError: a word or a number that no teacher or training knows.

    """
    for name, known in (("transfer", (None, *get_args(Transfer))), ("precision", PRECISIONS)):
        if told[name] not in known:
            raise InputError(
                f"{name}: want one of {', '.join(filter(None, known))}, got {told[name]!r}"
            )
    if told["data"] is None and told["own_pairs"]:
        raise InputError(
            "own_pairs: want labelled clips to take them from, got none; name them with --data"
        )
    if told["data"] is None:
        if told["teacher"] != RECORDED:
            raise InputError(
                f"teacher {told['teacher']}: want labelled clips to draw photos and drivers from,"
                " got none; name them with --data"
            )
        told["data"] = told["teacher_weights"]
    return DistillOptions(**told | {"weights": read_weights(told["weights"])})


def read_weights(told: Sequence[str]) -> dict[str, float]:
    """Return weights of terms by name, from words such as `identity=0.2`.

    Raises:
        InputError: no such form, or no number from 0 on.

    """
    found = {}
    for word in told:
        name, _, number = word.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not 0 <= found[name] < math.inf:
            raise InputError(f"weight: want TERM=NUMBER with a number from 0 on, got {word!r}")
    return found
