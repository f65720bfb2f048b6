"""Sensitivity: one layer or block at a time as a recipe has it, all else float; what the picture loses.

The JSON Schema of the record is published as `docs/schemas/sensitivity-1.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from pocketportrait import atomic
from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.export.converter import converter
from pocketportrait.quantize.charts import Bar, bar_chart
from pocketportrait.quantize.judging import Figures, Judge, Portrait, judged_pairs_of
from pocketportrait.quantize.plan import GraphPlan
from pocketportrait.quantize.recipe import Recipe
from pocketportrait.quantize.workbench import Workbench

SCHEMA_VERSION: Final = 1
RECORD, CHART, OVERLAY = "sensitivity.json", "sensitivity.svg", "model_explorer-{}.json"
NUM_PAIRS = 16
WHITE, RED = "#ffffff", "#d0342c"

Unit = Literal["layer", "block"]
Progress = Callable[[int, int | None], None]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sensitive(_Strict):
    """What one layer or block loses alone."""

    graph: str
    name: str
    layers: tuple[str, ...]
    schemes: tuple[str, ...]  # as the recipe has them, without repeats
    macs: int  # of one pass
    figures: Figures


class Sensitivity(_Strict):
    """All layers or blocks of some graphs, the most sensitive first."""

    schema_version: Literal[1] = SCHEMA_VERSION
    bundle: str
    format: str
    recipe: str  # one line
    unit: Unit
    pairs: int  # photos and frames that were compared
    calibration: str | None  # digest of the set
    rows: tuple[Sensitive, ...]


def measure_sensitivity(
    source: Path,
    recipe: Recipe,
    out: Path,
    *,
    format: str = "onnx",
    graphs: Sequence[str] = GRAPHS,
    unit: Unit = "layer",
    calibration: Path | None = None,
    judge: Path | None = None,
    num_pairs: int = NUM_PAIRS,
    portrait: Portrait | None = None,
    progress: Progress = lambda done, total: None,
) -> Sensitivity:
    """Quantize one layer or block after the other, and write record, chart and overlays into `out`.

    Args:
        source: a bundle with fp32 variants.
        recipe: what every layer becomes when its turn comes; layers that it keeps fp32 are left out.
        out: folder for `sensitivity.json`, `.svg`, and one Model Explorer overlay a graph.
        format: onnx, tflite or coreml.
        graphs: only these.
        unit: one layer at a time, or all layers of a block.
        calibration: clips or a set; wanted where the recipe computes in integers.
        judge: clips to compare pictures on; the golden vectors by default.
        num_pairs: pairs of photo and frame to take from `judge`.
        portrait: also say what portrait figures lose; takes minutes a layer.
        progress: told after every layer.

    Raises:
        InputError: the recipe cannot be obeyed, keeps all layers fp32, or clips are missing.
        MissingToolError: the `quantize` extra is not installed.
        ConverterError: a tool failed.

    """
    if unknown := sorted(set(graphs) - set(GRAPHS)):
        raise InputError(f"graph: want some of {', '.join(GRAPHS)}, got {', '.join(unknown)}")
    pairs, judged = judged_pairs_of(source, judge, num_pairs)
    bench = Workbench(source, [recipe], format=format, calibration=calibration, judged=judged)
    with bench:
        judging = Judge(bench.bundle, bench.scratch, pairs=pairs, portrait=portrait, timed=False)
        turns = _turns(bench.plans(recipe), graphs, unit)
        if not turns:
            raise InputError(f"recipe {recipe.name}: want layers that are not fp32, got none")
        rows = []
        for done, (graph, name, layers) in enumerate(turns):
            progress(done, len(turns))
            plan = bench.plans(recipe)[graph]
            trial = alone(recipe, plan, layers)
            figures = judging.look(bench.trial(trial), format, trial.name)
            rows.append(_row(plan, name, layers, figures))
        progress(len(turns), len(turns))
        found = Sensitivity(
            bundle=source.name,
            format=format,
            recipe=str(recipe),
            unit=unit,
            pairs=judging.num_pairs,
            calibration=bench.calibration.digest,
            rows=tuple(sorted(rows, key=lambda row: -row.figures.lost_db)),
        )
        _write(found, out, bench)
    return found


def alone(recipe: Recipe, plan: GraphPlan, layers: Sequence[str]) -> Recipe:
    """Return a recipe that has some layers of one graph as `recipe` has them, and all else fp32."""
    rules = []
    for name in layers:
        setting = plan.settings[name]
        rules.append(
            {
                "graph": plan.graph,
                "layers": re.escape(name),
                "scheme": setting.scheme,
                "granularity": setting.granularity,
                "symmetric": setting.symmetric,
            }
        )
    return Recipe.model_validate(
        {
            "name": "alone",
            "scheme": "fp32",
            "between": recipe.between,
            "bias_correction": recipe.bias_correction,
            "rules": rules,
        }
    )


def block_of(name: str) -> str:
    """Return the block of a layer: the first two parts of its path, without its own.

    `blocks.0.first` and `blocks.0.film` are `blocks.0`; `flow.head` is of `flow`; `up_half` stands alone.
    """
    parts = name.split(".")
    return ".".join(parts[: max(1, min(2, len(parts) - 1))])


def _turns(
    plans: dict[str, GraphPlan], graphs: Sequence[str], unit: Unit
) -> list[tuple[str, str, tuple[str, ...]]]:
    found = []
    for graph in graphs:
        groups: dict[str, list[str]] = {}
        for layer in plans[graph].layers:
            if plans[graph].settings[layer.name].scheme != "fp32":
                name = layer.name if unit == "layer" else block_of(layer.name)
                groups.setdefault(name, []).append(layer.name)
        found += [(graph, name, tuple(layers)) for name, layers in groups.items()]
    return found


def _row(plan: GraphPlan, name: str, layers: tuple[str, ...], figures: Figures) -> Sensitive:
    return Sensitive(
        graph=plan.graph,
        name=name,
        layers=layers,
        schemes=tuple(dict.fromkeys(plan.settings[layer].scheme for layer in layers)),
        macs=sum(layer.macs for layer in plan.layers if layer.name in layers),
        figures=figures,
    )


def _write(found: Sensitivity, out: Path, bench: Workbench) -> None:
    atomic.write_bytes(out / RECORD, found.model_dump_json(indent=2).encode() + b"\n")
    bars = [Bar(f"{r.graph} {r.name}", r.figures.lost_db, r.graph) for r in found.rows]
    chart = bar_chart(f"dB lost by one {found.unit} at a time: {found.recipe}", "dB", bars)
    atomic.write_bytes(out / CHART, chart.encode())
    for graph in dict.fromkeys(row.graph for row in found.rows):
        overlay = json.dumps(model_explorer(found, graph, bench), indent=1) + "\n"
        atomic.write_bytes(out / OVERLAY.format(graph), overlay.encode())


def model_explorer(found: Sensitivity, graph: str, bench: Workbench) -> dict[str, Any]:
    """Return node data for Model Explorer, which paints the nodes of the trials' fp32 file.

    Nodes are keyed by the names of what they give, as ai-edge-quantizer's own overlays are.
    """
    path, plan_layers = bench.origin(graph), bench.layers[graph]
    lost = {layer: r for r in found.rows if r.graph == graph for layer in r.layers}
    with converter(f"reader of {path.suffix}", "quantize"):
        names = _result_names(path, plan_layers)
    results = {
        tensor: {"value": round(lost[layer].figures.lost_db, 4)}
        for tensor, layer in names.items()
        if layer in lost
    }
    gradient = [{"stop": 0, "bgColor": WHITE}, {"stop": 1, "bgColor": RED}]
    return {"results": results, "gradient": gradient}


def _result_names(path: Path, layers: Any) -> dict[str, str]:
    """Return the layer by the name of every value that a layer's operation gives."""
    if path.suffix == ".onnx":
        import onnx

        owner = {node: layer.name for layer in layers for node in layer.nodes}
        nodes = onnx.load(path).graph.node
        return {node.output[0]: owner[node.name] for node in nodes if node.name in owner}
    if path.suffix == ".tflite":
        from pocketportrait.quantize import tflite_graph

        operations = tflite_graph.read_tflite(path)
        matched = tflite_graph.layer_of_operation(operations, layers, path.name)
        return {operations[n].outputs[0].name: name for n, name in matched.items()}
    from pocketportrait.quantize import coreml_graph

    found = coreml_graph.read_coreml(path)
    matched = coreml_graph.layer_of_operation(found, layers, path.name)
    return {found[n].outputs[0]: name for n, name in matched.items()}


def sensitivity_schema() -> dict[str, Any]:
    """Return the JSON Schema of a sensitivity record."""
    schema = Sensitivity.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
