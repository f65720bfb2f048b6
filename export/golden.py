"""Golden vectors: what the student answers to real frames, so that a device can check itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from pocketportrait import atomic
from pocketportrait.contract import Array, GraphSpec
from pocketportrait.errors import InputError
from pocketportrait.models.dims import graph_specs
from pocketportrait.models.student import Student

Pair = tuple[Array, Array]  # photo and driving frame, [side, side, 3], float32, RGB 0..1
FLOAT64 = ".float64"


def golden_vectors(
    student: Student, pair: Pair, *, exact: bool = True
) -> dict[str, dict[str, Array]]:
    """Run all three graphs on one photo and one frame.

    Args:
        student: in eval mode.
        pair: photo and frame.
        exact: add each output again as `<name>.float64`, computed in float64 from the same inputs.

    Returns:
        By graph: inputs and outputs by name, NCHW float32.

    Raises:
        InputError: a picture does not fit the student, or both give the same code.

    """
    specs = graph_specs(student.dims)
    photo, frame = (
        _to_nchw(name, picture) for name, picture in zip(("photo", "frame"), pair, strict=True)
    )
    specs["appearance"].check_feed({"photo": photo.numpy()})
    specs["motion"].check_feed({"frame": frame.numpy()})
    with torch.inference_mode(), _one_thread():
        features = student.appearance(photo)
        source_code, driving_code = student.motion(photo), student.motion(frame)
        if torch.equal(source_code, driving_code):
            raise InputError("golden pair: want a photo and another frame, got two of one code")
        feeds = {
            "appearance": (photo,),
            "motion": (frame,),
            "render": (*features, source_code, driving_code),
        }
        vectors = {n: _vectors(specs[n], getattr(student, n), feed) for n, feed in feeds.items()}
        if exact:
            wide = copy.deepcopy(student).double()
            for name, feed in feeds.items():
                vectors[name] |= _exact_outputs(specs[name], getattr(wide, name), feed)
    return vectors


def write_golden(
    student: Student, pairs: Sequence[Pair], folder: Path, *, exact: bool = True
) -> dict[str, tuple[str, ...]]:
    """Write `golden/<graph>-<n>.safetensors` under `folder` for every pair.

    A photo that several pairs share is encoded once.

    Args:
        student: in eval mode.
        pairs: photos and frames.
        folder: where `golden/` goes.
        exact: add float64 outputs to the first pair's files; they double their size.

    Returns:
        By graph: the paths, relative to `folder`.

    Raises:
        InputError: a picture does not fit, or the place cannot be written to.

    """
    paths: dict[str, list[str]] = {}
    photos: set[bytes] = set()
    for index, pair in enumerate(pairs):
        vectors = golden_vectors(student, pair, exact=exact and index == 0)
        if (photo := pair[0].tobytes()) in photos:
            del vectors["appearance"]
        photos.add(photo)
        for graph, tensors in vectors.items():
            path = f"golden/{graph}-{index}.safetensors"
            atomic.write_bytes(folder / path, save(tensors))
            paths.setdefault(graph, []).append(path)
    return {graph: tuple(found) for graph, found in paths.items()}


def _vectors(spec: GraphSpec, graph: torch.nn.Module, feed: tuple[Tensor, ...]) -> dict[str, Array]:
    inputs = {
        t.name: np.ascontiguousarray(v.numpy()) for t, v in zip(spec.inputs, feed, strict=True)
    }
    spec.check_feed(inputs)
    outputs = zip(spec.outputs, _as_tuple(graph(*feed)), strict=True)
    return inputs | {t.name: np.ascontiguousarray(value.numpy()) for t, value in outputs}


def _exact_outputs(
    spec: GraphSpec, wide: torch.nn.Module, feed: tuple[Tensor, ...]
) -> dict[str, Array]:
    outputs = _as_tuple(wide(*(value.double() for value in feed)))
    assert all(value.dtype == torch.float64 for value in outputs)
    return {
        t.name + FLOAT64: np.ascontiguousarray(value.numpy())
        for t, value in zip(spec.outputs, outputs, strict=True)
    }


def _as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else result


def _to_nchw(name: str, picture: Array) -> Tensor:
    if picture.ndim != 3 or picture.dtype != np.float32:
        raise InputError(
            f"{name}: want float32 [side, side, 3], got {picture.dtype} {picture.shape}"
        )
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in another order are other float32 numbers; one thread gives the same bytes anywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
