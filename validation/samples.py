"""What graphs are replayed with: the bundle's golden vectors, and fresh photos and frames.

Validation has no torch, so the reference of a fresh sample is the ONNX fp32 variant, once its own golden
replay has passed. Renderer inputs are always what `appearance` and `motion` gave: random codes and
features would test the graph where it is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array, GraphSpec, TensorSpec
from pocketportrait.errors import InputError
from pocketportrait.validation.tolerance import noise_floor

FLOAT64 = ".float64"
Infer = Callable[[str, dict[str, Array]], dict[str, Array]]  # graph name and feed to outputs


@dataclass(frozen=True)
class Sample:
    """One feed of one graph and the outputs that it should give."""

    name: str
    graph: str
    feed: dict[str, Array]
    want: dict[str, Array]


def golden_samples(bundle: Bundle, graph: str) -> Iterator[Sample]:
    """Yield a graph's golden vectors, each checked against the contract.

    Raises:
        InputError: a tensor is missing or unlike its spec.

    """
    spec = bundle.graph_spec(graph)
    for number, tensors in enumerate(bundle.golden(graph)):
        name = f"golden-{number}"
        wanted = {t.name for t in (*spec.inputs, *spec.outputs)}
        if missing := sorted(wanted - tensors.keys()):
            raise InputError(
                f"{graph} {name}: want {sorted(wanted)}, got none of {missing}; export again"
            )
        feed = {t.name: tensors[t.name] for t in spec.inputs}
        spec.check_feed(feed)
        want = {t.name: tensors[t.name] for t in spec.outputs}
        for output in spec.outputs:
            if want[output.name].shape != output.shape:
                raise InputError(
                    f"{graph} {name}: {output.name}: want shape {output.shape},"
                    f" got {want[output.name].shape}; export again"
                )
        yield Sample(name, graph, feed, want)


def noise_floors(bundle: Bundle, graph: str) -> dict[str, float]:
    """Return the largest |float32 - float64| of each output over the golden vectors that store both."""
    floors: dict[str, float] = {}
    for tensors in bundle.golden(graph):
        for name in (t.name for t in bundle.graph_spec(graph).outputs):
            if name + FLOAT64 in tensors:
                floor = noise_floor(tensors[name], tensors[name + FLOAT64])
                floors[name] = max(floors.get(name, 0.0), floor)
    return floors


def fresh_samples(specs: Mapping[str, GraphSpec], infer: Infer, *, seed: int) -> list[Sample]:
    """Return one sample a graph from a random photo and a random frame.

    Args:
        specs: the contract of all three graphs.
        infer: runs a graph of the reference variant.
        seed: decides photo and frame.

    """
    name = f"fresh-{seed}"
    (photo_spec,), (frame_spec,) = specs["appearance"].inputs, specs["motion"].inputs
    photo = random_picture(photo_spec, seed=2 * seed)
    frame = random_picture(frame_spec, seed=2 * seed + 1)
    features = infer("appearance", {photo_spec.name: photo})
    source = infer("motion", {frame_spec.name: photo})
    driving = infer("motion", {frame_spec.name: frame})
    codes = {"source_code": source["code"], "driving_code": driving["code"]}
    feed = {t.name: (features | codes)[t.name] for t in specs["render"].inputs}
    return [
        Sample(name, "appearance", {photo_spec.name: photo}, features),
        Sample(name, "motion", {frame_spec.name: frame}, driving),
        Sample(name, "render", feed, infer("render", feed)),
    ]


def random_picture(spec: TensorSpec, *, seed: int) -> Array:
    """Return a random picture with as much at every scale as photos have, values 0..1."""
    generator = np.random.default_rng(seed)
    _, channels, height, width = spec.shape
    picture = np.zeros((channels, height, width))
    size = 2
    while height % size == width % size == 0:
        noise = generator.standard_normal((channels, size, size))
        picture += _enlarged(noise, height, width) / np.sqrt(size)
        size *= 2
    picture = np.clip(0.5 + 0.2 * picture / picture.std(), 0, 1)
    return np.asarray(picture[None], spec.dtype)


def _enlarged(noise: Array, height: int, width: int) -> Array:
    return noise.repeat(height // noise.shape[1], 1).repeat(width // noise.shape[2], 2)
