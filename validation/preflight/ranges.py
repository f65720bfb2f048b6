"""How large the numbers inside a graph get on real inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pocketportrait.bundle import Bundle
from pocketportrait.contract import Array
from pocketportrait.validation.onnx_values import OnnxValues
from pocketportrait.validation.preflight.rule import Range
from pocketportrait.validation.samples import golden_samples


def measured_ranges(bundle: Bundle, graph: str) -> tuple[Range, ...]:
    """Run the golden inputs through a bundle's ONNX file, its fp32 one if there is one.

    Returns:
        One range an operation with a float result; none where the bundle has no ONNX file or no
        golden vectors of the graph.

    Raises:
        MissingToolError: the `export` extra, which brings `onnx`, is not installed.

    """
    path = _onnx_file(bundle, graph)
    feeds = [sample.feed for sample in golden_samples(bundle, graph)]
    return () if path is None or not feeds else ranges_of(path, feeds)


def ranges_of(path: Path, feeds: Sequence[Mapping[str, Array]]) -> tuple[Range, ...]:
    """Run inputs through an ONNX file and return one range an operation with a float result.

    Raises:
        InputError: the file does not load.
        MissingToolError: the `export` extra, which brings `onnx`, is not installed.

    """
    largest: dict[str, float] = {}
    with OnnxValues(path) as values:
        for feed in feeds:
            for name, value in values.run(feed).items():
                if value.dtype.kind == "f" and value.size:
                    largest[name] = max(largest.get(name, 0.0), _largest(value))
        return tuple(
            Range(o.name, o.operator, max(largest[n] for n in made), len(feeds))
            for o in values.operations
            if (made := [name for name in o.outputs if name in largest])
        )


def _largest(value: Array) -> float:
    if not np.isfinite(value).all():
        return float("inf")
    return float(np.abs(value).max())


def _onnx_file(bundle: Bundle, graph: str) -> Path | None:
    variants = bundle.manifest.variants.get("onnx", {})
    for precision in sorted(variants, key=lambda name: (name != "fp32", name)):
        found = variants[precision].graphs.get(graph)
        if found is not None:
            return bundle.file(found.path)
    return None
