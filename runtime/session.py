"""A session: one photo, encoded once, then any number of driving frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.contract import GRAPHS, Array, TensorSpec
from pocketportrait.errors import InputError
from pocketportrait.runtime.codes import Motion, MotionTransfer
from pocketportrait.runtime.contract_runner import ContractRunner
from pocketportrait.runtime.layout import convert
from pocketportrait.runtime.runner import choose_runner, open_runner

KEPT_TIMINGS = (
    10_000  # passes of a graph whose times are kept, so that memory does not grow with a clip
)


class Session:
    """Animate one photo at a time through the exported graphs of a bundle."""

    def __init__(self, runners: Mapping[str, ContractRunner], motion: Motion = "relative") -> None:
        """Take one runner a graph, by name; `open` finds them in a bundle."""
        self._runners = dict(runners)
        self._transfer = MotionTransfer(motion)
        self._stack = ExitStack()
        self._has_photo = False
        self.runner = self.variant = ""
        self.timings_ms: dict[str, deque[float]] = {g: deque(maxlen=KEPT_TIMINGS) for g in GRAPHS}

    @classmethod
    def open(
        cls,
        bundle: Bundle | Path,
        format: str = "onnx",
        precision: str = "fp32",
        *,
        motion: Motion = "relative",
        threads: int | None = None,
        runner: str | None = None,
    ) -> Self:
        """Return a session over one variant of a bundle; entering it loads the files.

        Args:
            bundle: an open bundle, or the path of one, which is then closed with the session.
            format: one of the bundle's formats.
            precision: the variant's name.
            motion: `relative` adds the driver's change since its first frame to the photo's own code.
            threads: None lets the engine choose.
            runner: a runner's name; None takes the best that can be used here.

        Raises:
            InputError: the bundle cannot be used or does not hold this variant.
            MissingToolError: no runner of the format can be used here.

        """
        MotionTransfer(motion)  # wrong words are refused before files are hashed
        runner = choose_runner(format, runner)
        owned = None if isinstance(bundle, Bundle) else Bundle.open(bundle)
        found = owned or bundle
        assert isinstance(found, Bundle)
        try:
            runners = {
                graph: open_runner(found, format, precision, graph, runner=runner, threads=threads)
                for graph in GRAPHS
            }
        except BaseException:
            if owned is not None:
                owned.close()
            raise
        session = cls(runners, motion)
        session.runner, session.variant = runner, f"{format}/{precision}"
        if owned is not None:
            session._stack.callback(owned.close)
        return session

    def __enter__(self) -> Self:
        """Load all graphs.

        Raises:
            InputError: a file does not load, or is not what the manifest says.

        """
        with ExitStack() as loading:
            loading.push(self._stack.pop_all())
            for runner in self._runners.values():
                loading.enter_context(runner)
            self._stack = loading.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free all graphs."""
        self._has_photo = False
        self._stack.__exit__(kind, error, trace)

    @property
    def side(self) -> int:
        """Side of the square pictures that go in and come out, in pixels."""
        return self._runners["motion"].inputs[0].shape[-1]

    def set_photo(self, photo: Array) -> None:
        """Encode the photo; driving frames animate it from now on.

        Args:
            photo: RGB [side, side, 3], uint8 or float 0..1.

        Raises:
            InputError: another shape or type, or values outside the range.

        """
        appearance, motion = self._runners["appearance"], self._runners["motion"]
        source = self._encode(photo)
        features = self._run(
            "appearance", {spec.name: to_tensor(photo, spec) for spec in appearance.inputs}
        )
        assert [spec.name for spec in motion.outputs] == ["code"]
        self._transfer.set_source(source)
        self._transfer.reset_neutral()
        self._runners["render"].bind(features | {"source_code": source})
        self._has_photo = True

    def step(self, frame: Array) -> Array:
        """Let the photo do what the driver does in this frame.

        Args:
            frame: RGB [side, side, 3], uint8 or float 0..1.

        Returns:
            the animated photo, RGB uint8 [side, side, 3].

        Raises:
            InputError: no photo was set; or as `set_photo`.

        """
        if not self._has_photo:
            raise InputError("session: want a photo before the first frame; call set_photo")
        code = self._transfer.apply(self._encode(frame))
        image = self._run("render", {"driving_code": code})["image"]
        return to_picture(image, self._runners["render"].outputs[0])

    def animate(self, frames: Iterable[Array]) -> Iterator[Array]:
        """Yield `step(frame)` for every frame, one at a time."""
        for frame in frames:
            yield self.step(frame)

    def reset_neutral(self) -> None:
        """Take the next frame as the one that relative motion counts from."""
        self._transfer.reset_neutral()

    def _encode(self, picture: Array) -> Array:
        (spec,) = self._runners["motion"].inputs
        return self._run("motion", {spec.name: to_tensor(picture, spec)})["code"]

    def _run(self, graph: str, feed: Mapping[str, Array]) -> dict[str, Array]:
        start = time.perf_counter()
        results = self._runners[graph].infer(feed)
        self.timings_ms[graph].append((time.perf_counter() - start) * 1000)
        return results


def to_tensor(picture: Array, spec: TensorSpec) -> Array:
    """Return a picture [H, W, 3], uint8 or float 0..1, as the tensor that `spec` describes.

    Raises:
        InputError: another shape or type, or values outside 0..1.

    """
    batch = np.asarray(picture)[None]
    high = 255 if batch.dtype == np.uint8 else 1
    if batch.dtype != np.uint8 and batch.dtype.kind != "f":
        raise InputError(f"{spec.name}: want uint8 or float pixels, got {batch.dtype}")
    dtype = "uint8" if batch.dtype == np.uint8 else "float32"
    given = TensorSpec(spec.name, spec.nhwc().shape, dtype, "NHWC", 0, high)
    given.check(batch.astype(dtype, copy=False))
    return convert(batch, given, spec)


def to_picture(tensor: Array, spec: TensorSpec) -> Array:
    """Return the tensor of a picture as uint8 [H, W, 3]."""
    picture = convert(
        tensor, spec, TensorSpec(spec.name, spec.nhwc().shape, "uint8", "NHWC", 0, 255)
    )
    return picture.reshape(picture.shape[1:])
