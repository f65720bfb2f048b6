"""Instructions of a frame on an emulated CPU: a cost that other work on this machine does not move."""

from __future__ import annotations

from pocketportrait.bundle import Bundle
from pocketportrait.bundle.reader import sha256_of
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.protocol import Job, Target, TargetError, execute
from pocketportrait.runtime.targets.registry import target_named
from pocketportrait.validation.samples import golden_samples

UNIT = "instructions"
EACH_FRAME = ("motion", "render")


class InstructionCounter:
    """Counts on one target; a file that was counted before is not counted again."""

    def __init__(self, target: Target) -> None:
        """Take a target that `counting_target` returned."""
        self._target = target
        self._known: dict[str, int] = {}  # by sha256 of the file

    def of_frame(self, bundle: Bundle, format: str, name: str) -> int:
        """Return the instructions of `motion` and `render` together, on golden inputs.

        Raises:
            InputError: there are no golden vectors.
            TargetError: the target broke off, or did not count.

        """
        return sum(self._of_graph(bundle, format, name, graph) for graph in EACH_FRAME)

    def _of_graph(self, bundle: Bundle, format: str, name: str, graph: str) -> int:
        declared = bundle.variant(format, name).graphs[graph]
        path = bundle.file(declared.path)
        digest = sha256_of(path)
        if digest not in self._known:
            sample = next(golden_samples(bundle, graph), None)
            if sample is None:
                raise InputError(
                    f"{graph}: want golden vectors to count on, got none; export again"
                )
            spec = bundle.graph_spec(graph)
            outcome = execute(
                self._target, Job(path, format, spec, declared, {sample.name: sample.feed})
            )
            if outcome.cost is None:
                raise TargetError(
                    f"{self._target.name}: want {UNIT}, got none: {outcome.cost_note}"
                )
            self._known[digest] = outcome.cost
        return self._known[digest]


def counting_target(name: str, format: str) -> Target:
    """Return the target of a name, ready to count instructions of files of a format.

    Raises:
        InputError: no such target, or one that counts nothing or runs other formats.
        MissingToolError: it is not installed; the error says what to run.

    """
    target = target_named(name)
    if target.traits.cost_unit != UNIT or format not in target.traits.formats:
        raise InputError(
            f"counted_on: want a target that counts {UNIT} of {format} files, got {name};"
            " qemu:arm64-a53 and qemu:arm64-a76 count those of onnx and tflite"
        )
    if reason := target.probe().reason:
        raise MissingToolError(f"frame_instructions: {reason}")
    return target
