"""A bundle in, a bundle with one more variant in every format out; a killed run goes on where it stood."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pocketportrait import atomic
from pocketportrait.bundle import (
    FORMATS,
    Bundle,
    BundleWriter,
    Variant,
    VariantGraph,
)
from pocketportrait.contract import GRAPHS, GraphSpec
from pocketportrait.errors import InputError
from pocketportrait.quantize.calibrated import Calibration
from pocketportrait.quantize.calibration import Feed
from pocketportrait.quantize.coreml_backend import quantize_coreml
from pocketportrait.quantize.layers import Layer, read_layers
from pocketportrait.quantize.onnx_backend import quantize_onnx
from pocketportrait.quantize.plan import GraphPlan, make_plan
from pocketportrait.quantize.ranges import LearntRanges
from pocketportrait.quantize.read_back import GraphFacts, differences, read_back
from pocketportrait.quantize.recipe import Recipe
from pocketportrait.quantize.tflite_backend import quantize_tflite

BACKENDS: dict[str, Callable[[Path, GraphSpec, GraphPlan, Sequence[Feed], Path], Path]] = {
    "onnx": quantize_onnx,
    "tflite": quantize_tflite,
    "coreml": quantize_coreml,
}
TOOLS = ("nncf", "ai-edge-quantizer", "coremltools", "onnxruntime")
START = "fp32"


@dataclass(frozen=True, slots=True)
class Quantized:
    """A bundle with the new variants, and what their files really hold."""

    bundle: Bundle
    facts: Mapping[str, tuple[GraphFacts, ...]]  # by format
    differences: tuple[str, ...]  # between files and recipe; a difference is no success


@dataclass(frozen=True, slots=True)
class _Made:
    """Where ranges came from, and what differs between files and recipe."""

    calibration: Calibration
    learnt: LearntRanges | None
    differences: tuple[str, ...]


def quantize_bundle(
    source: Path,
    recipe: Recipe,
    out: Path,
    *,
    formats: Sequence[str] | None = None,
    calibration: Path | None = None,
    listing: Path | None = None,
    learnt: LearntRanges | None = None,
    written_set: Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Quantized:
    """Add a recipe's variant to a bundle, in every format that the bundle has in fp32.

    Files that are finished stand in a hidden folder beside `out` until all are: a run that was killed
    is taken up there by the same command.

    Args:
        source: the bundle; its files are carried over.
        recipe: what the new variant is; an old variant of its name is replaced.
        out: folder, or `.zip` file, to write or replace; may be `source`.
        formats: only these.
        calibration: a folder of clips to choose from, or a calibration set's manifest.
        listing: says which clips are scored; looked for near the clips by default.
        learnt: ranges that are taken in place of measured ones; others are measured.
        written_set: file to write the calibration set to, for other runs.
        progress: called with a word or two before each step.

    Raises:
        InputError: the recipe cannot be obeyed, calibration is missing or overlaps scored clips, or
            the place cannot be written to.
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed; nothing is written.

    """
    with ExitStack() as stack:
        bundle = stack.enter_context(Bundle.open(source))
        chosen = formats_of(bundle, formats)
        plans = make_plan(recipe, layers_of_bundle(bundle), chosen)
        plans = learnt.of(plans) if learnt else plans
        ranges = Calibration.open(bundle, [recipe], calibration, listing=listing)
        if written_set is not None:
            ranges.write(written_set)
        work = _work_folder(bundle, recipe, ranges, learnt, out)
        stack.enter_context(_alone(work, out))
        feeds: dict[str, list[Feed]] = {}
        for format in chosen:
            for graph in GRAPHS:
                path = work / format / Path(bundle.variant(format, START).graphs[graph].path).name
                if path.exists():
                    progress(f"{format} {graph}: already there")
                    continue
                if not feeds and ranges.chosen is not None:
                    progress(f"calibration: {len(ranges.chosen.frames)} frames")
                    feeds = ranges.feeds(bundle)
                progress(f"{format} {graph}")
                origin = bundle.file(bundle.variant(format, START).graphs[graph].path)
                spec, plan = bundle.graph_spec(graph), plans[graph]
                BACKENDS[format](origin, spec, plan, feeds.get(graph, []), path)
        progress("read back")
        facts = {format: _read_back(bundle, format, work, plans) for format in chosen}
        found = [
            f"{format} {line}"
            for format, graphs in facts.items()
            for one in graphs
            for line in differences(one, plans[one.graph])
        ]
        _write(bundle, recipe, out, work, facts, _Made(ranges, learnt, tuple(found)))
    shutil.rmtree(work, ignore_errors=True)
    return Quantized(Bundle.open(out), facts, tuple(found))


def formats_of(bundle: Bundle, wanted: Sequence[str] | None) -> list[str]:
    """Return the formats to write: those that the bundle has in fp32, or those of them that are wanted.

    Raises:
        InputError: a wanted format is not there, or onnx, whose files name the layers.

    """
    held = [f for f in FORMATS if START in bundle.manifest.variants.get(f, {})]
    if "onnx" not in held:
        raise InputError(
            f"quantize: want a bundle with onnx/{START}, which names the layers; got"
            f" {', '.join(f'{f}/{p}' for f, by in bundle.manifest.variants.items() for p in by) or 'none'};"
            f" export it with -p {START}"
        )
    if absent := sorted(set(wanted or ()) - set(held)):
        raise InputError(f"quantize: want formats with {START} ({', '.join(held)}), got {absent}")
    return [f for f in held if not wanted or f in wanted]


def layers_of_bundle(bundle: Bundle) -> dict[str, tuple[Layer, ...]]:
    """Return the layers of every graph, by the ONNX fp32 files."""
    files = bundle.variant("onnx", START).graphs
    return {graph: read_layers(bundle.file(files[graph].path)) for graph in GRAPHS}


def _work_folder(
    bundle: Bundle, recipe: Recipe, ranges: Calibration, learnt: LearntRanges | None, out: Path
) -> Path:
    """Return where finished files wait; another recipe, bundle, set, range or tool means another."""
    files = sorted((name, facts.sha256) for name, facts in bundle.manifest.files.items())
    taken = learnt.digest if learnt else None
    key = [recipe.to_json(), files, ranges.digest, taken, tool_versions()]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return out.with_name(f".{out.stem}.{recipe.name}-{digest}")


@contextlib.contextmanager
def _alone(work: Path, out: Path) -> Iterator[None]:
    """Keep a second process out of the folder; a killed one's is taken over.

    Raises:
        InputError: another process works in it, or the place cannot be written to.

    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        held = atomic.lock(work)
    except OSError as error:
        raise InputError(f"{out}: want a writable place, got: {error.strerror}") from error
    if held is None:
        raise InputError(f"{out}: another process is making the same; wait for it")
    try:
        yield
    finally:
        os.close(held)


def _read_back(
    bundle: Bundle, format: str, work: Path, plans: Mapping[str, GraphPlan]
) -> tuple[GraphFacts, ...]:
    found = []
    for graph in GRAPHS:
        origin = bundle.file(bundle.variant(format, START).graphs[graph].path)
        found.append(read_back(work / format / origin.name, origin, plans[graph]))
    return tuple(found)


def _write(
    bundle: Bundle,
    recipe: Recipe,
    out: Path,
    work: Path,
    facts: Mapping[str, tuple[GraphFacts, ...]],
    made: _Made,
) -> None:
    manifest = bundle.manifest
    with BundleWriter(out) as writer:
        writer.carry_over(bundle)
        for format, graphs in facts.items():
            shutil.rmtree(writer.folder / format / recipe.name, ignore_errors=True)
            shutil.copytree(work / format, writer.folder / format / recipe.name)
            details = _details(recipe, graphs, made, format)
            writer.add_variant(
                format, recipe.name, _variant(bundle, recipe, format, graphs, details)
            )
        writer.finish(
            graphs=manifest.graphs,
            code_slices=manifest.code_slices,
            golden=manifest.golden,
            tools={**manifest.tools, **tool_versions()},
            licence=manifest.licence,
            model=manifest.model,
            figures=manifest.figures,
        ).close()


def _variant(
    bundle: Bundle,
    recipe: Recipe,
    format: str,
    graphs: Sequence[GraphFacts],
    details: dict[str, Any],
) -> Variant:
    integer = any(layer.integer or layer.dynamic for graph in graphs for layer in graph.layers)
    origin = bundle.variant(format, START).graphs
    return Variant(
        graphs={
            name: VariantGraph(
                path=f"{format}/{recipe.name}/{Path(graph.path).name}",
                inputs=graph.inputs,
                outputs=graph.outputs,
            )
            for name, graph in origin.items()
        },
        recipe=str(recipe),
        weights={"fp16": "float16", "palette6": "palette6", "w4": "int4"}.get(
            recipe.scheme, "int8"
        ),
        activations="int8" if integer else "float32",
        quantization=details,
    )


def _details(
    recipe: Recipe, graphs: Sequence[GraphFacts], made: _Made, format: str
) -> dict[str, Any]:
    """Return what the manifest keeps of a variant: recipe, where ranges are from, what was read back."""
    chosen, learnt = made.calibration.chosen, made.learnt
    return {
        "recipe": json.loads(recipe.to_json()),
        "calibration": chosen
        and {"name": chosen.name, "digest": chosen.digest, "frames": len(chosen.frames)},
        "learnt_ranges": learnt
        and {"digest": learnt.digest, "tensors": {g: len(r) for g, r in learnt.ranges.items()}},
        "differences": [line for line in made.differences if line.startswith(format)],
        "read_back": {
            one.graph: {
                "integer_share_of_macs": round(one.integer_share(), 4),
                "weight_bits": {layer.name: layer.weight_bits for layer in one.layers},
                "weight_scales": {  # the smallest and the largest
                    layer.name: layer.scales for layer in one.layers if layer.scales
                },
                "float_layers": list(one.float_layers),
                "float_operations": one.float_operations,
            }
            for one in graphs
        },
    }


def tool_versions() -> dict[str, str]:
    """Return the versions of the tools that decide what a file becomes."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
