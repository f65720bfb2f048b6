"""A bundle in, a bundle with one more variant in every format out; a killed run goes on where it stood."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pocketportrait.bundle import (
    FORMATS,
    Bundle,
    BundleWriter,
    Variant,
    VariantGraph,
    place,
    write_zip,
)
from pocketportrait.contract import GRAPHS, GraphSpec
from pocketportrait.errors import InputError
from pocketportrait.quantize.calibration import (
    CalibrationSet,
    Feed,
    calibration_feeds,
    choose_set,
    load_pictures,
    read_set,
    scored_hashes,
)
from pocketportrait.quantize.coreml_backend import quantize_coreml
from pocketportrait.quantize.layers import read_layers
from pocketportrait.quantize.onnx_backend import quantize_onnx
from pocketportrait.quantize.plan import GraphPlan, make_plan
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
class _Ranges:
    """The calibration set in use; feeds are made when a file first needs them."""

    chosen: CalibrationSet | None
    manifest: Path | None
    scored: frozenset[str]


def quantize_bundle(
    source: Path,
    recipe: Recipe,
    out: Path,
    *,
    formats: Sequence[str] | None = None,
    calibration: Path | None = None,
    listing: Path | None = None,
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
        progress: called with a word or two before each step.

    Raises:
        InputError: the recipe cannot be obeyed, calibration is missing or overlaps scored clips, or
            the place cannot be written to.
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed; nothing is written.

    """
    with ExitStack() as stack:
        bundle = stack.enter_context(Bundle.open(source))
        chosen = _formats(bundle, formats)
        plans = _plans(bundle, recipe, chosen)
        ranges = _calibration(bundle, recipe, calibration, listing)
        work = _work_folder(bundle, recipe, ranges, out)
        feeds: dict[str, list[Feed]] = {}
        for format in chosen:
            for graph in GRAPHS:
                path = work / format / Path(bundle.variant(format, START).graphs[graph].path).name
                if path.exists():
                    progress(f"{format} {graph}: already there")
                    continue
                if not feeds and ranges.chosen is not None:
                    progress(f"calibration: {len(ranges.chosen.frames)} frames")
                    feeds = _feeds(bundle, ranges)
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
        _write(bundle, recipe, out, work, facts, ranges, found)
    shutil.rmtree(work, ignore_errors=True)
    return Quantized(Bundle.open(out), facts, tuple(found))


def _formats(bundle: Bundle, wanted: Sequence[str] | None) -> list[str]:
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


def _plans(bundle: Bundle, recipe: Recipe, formats: Sequence[str]) -> dict[str, GraphPlan]:
    files = bundle.variant("onnx", START).graphs
    layers = {graph: read_layers(bundle.file(files[graph].path)) for graph in GRAPHS}
    return make_plan(recipe, layers, formats)


def _calibration(
    bundle: Bundle, recipe: Recipe, calibration: Path | None, listing: Path | None
) -> _Ranges:
    if not recipe.needs_calibration:
        return _Ranges(None, None, frozenset())
    if calibration is None:
        raise InputError(
            f"recipe {recipe.name}: want calibration clips to measure ranges on, got none;"
            " add --calibration FOLDER (clips that nothing is scored on)"
        )
    if calibration.is_dir():
        scored = scored_hashes(calibration, listing)
        return _Ranges(choose_set(bundle, calibration, scored=scored), None, scored)
    found = read_set(calibration)
    folder = Path(found.folder)
    near = folder if folder.is_absolute() else calibration.parent / folder
    return _Ranges(found, calibration, scored_hashes(near, listing))


def _feeds(bundle: Bundle, ranges: _Ranges) -> dict[str, list[Feed]]:
    assert ranges.chosen is not None
    side = bundle.graph_spec("motion").inputs[0].shape[-1]
    pictures = load_pictures(ranges.chosen, ranges.manifest, side, ranges.scored)
    return calibration_feeds(bundle, pictures)


def _work_folder(bundle: Bundle, recipe: Recipe, ranges: _Ranges, out: Path) -> Path:
    """Return where finished files wait; another recipe, bundle, set or tool means another folder."""
    files = sorted((name, facts.sha256) for name, facts in bundle.manifest.files.items())
    key = [recipe.to_json(), files, ranges.chosen and ranges.chosen.digest, _versions()]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return out.with_name(f".{out.stem}.{recipe.name}-{digest}")


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
    ranges: _Ranges,
    found: Sequence[str],
) -> None:
    folder = place.beside(out.with_suffix("")) if out.suffix == ".zip" else out
    manifest = bundle.manifest
    with BundleWriter(folder) as writer:
        writer.carry_over(bundle)
        for format, graphs in facts.items():
            shutil.rmtree(writer.folder / format / recipe.name, ignore_errors=True)
            shutil.copytree(work / format, writer.folder / format / recipe.name)
            details = _details(recipe, graphs, ranges, [f for f in found if f.startswith(format)])
            writer.add_variant(
                format, recipe.name, _variant(bundle, recipe, format, graphs, details)
            )
        writer.finish(
            graphs=manifest.graphs,
            code_slices=manifest.code_slices,
            golden=manifest.golden,
            tools={**manifest.tools, **_versions()},
            licence=manifest.licence,
            model=manifest.model,
            figures=manifest.figures,
        )
    if folder != out:
        try:
            write_zip(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _variant(
    bundle: Bundle,
    recipe: Recipe,
    format: str,
    graphs: Sequence[GraphFacts],
    details: dict[str, Any],
) -> Variant:
    integer = any(layer.integer for graph in graphs for layer in graph.layers)
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
        weights={"fp16": "float16", "palette6": "palette6"}.get(recipe.scheme, "int8"),
        activations="int8" if integer else "float32",
        quantization=details,
    )


def _details(
    recipe: Recipe, graphs: Sequence[GraphFacts], ranges: _Ranges, found: Sequence[str]
) -> dict[str, Any]:
    """Return what the manifest keeps of a variant: recipe, calibration set, and what was read back."""
    chosen = ranges.chosen
    return {
        "recipe": json.loads(recipe.to_json()),
        "calibration": chosen
        and {"name": chosen.name, "digest": chosen.digest, "frames": len(chosen.frames)},
        "differences": list(found),
        "read_back": {
            one.graph: {
                "integer_share_of_macs": round(one.integer_share(), 4),
                "weight_bits": {layer.name: layer.weight_bits for layer in one.layers},
                "float_layers": list(one.float_layers),
                "float_operations": one.float_operations,
            }
            for one in graphs
        },
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
