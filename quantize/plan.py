"""From a recipe to one setting a layer; everything that cannot be is told before any work, at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pocketportrait.contract import GRAPHS
from pocketportrait.errors import InputError
from pocketportrait.quantize.layers import Layer
from pocketportrait.quantize.recipe import MEASURED, Granularity, Recipe, Rule, Scheme

NUM_NEAREST = 4  # names that an error shows

# what a format's tools and runtimes cannot do: why, and the nearest that they can
IMPOSSIBLE: dict[tuple[str, Scheme], tuple[str, str]] = {
    ("onnx", "w8a16"): ("ONNX Runtime has no convolution with 16-bit activations", "w8a8"),
    ("onnx", "palette6"): ("ONNX has no palettes", "w8"),
    ("onnx", "w8a8_dynamic"): ("NNCF quantizes by ranges that were measured before", "w8a8"),
    ("coreml", "w8a8_dynamic"): ("coremltools stores ranges that were measured before", "w8a8"),
    ("tflite", "w8a16"): ("LiteRT refuses 16-bit subtraction, and the graphs subtract", "w8a8"),
    ("tflite", "palette6"): ("TFLite has no palettes", "w8"),
    ("coreml", "w8a16"): ("coremltools quantizes activations to 8 bits only", "w8a8"),
    ("coreml", "w4"): ("4-bit weights need iOS 18, the packages keep iOS 17", "palette6"),
    ("coreml", "fp16"): (
        "a package is halved when it is converted: pocketportrait export -p fp16",
        "w8",
    ),
}
INPUT, RESULT = "input", "result"  # sides of a layer whose numbers are rounded
Range = tuple[float, float]  # smallest and largest number of a tensor

WHOLE: frozenset[Scheme] = frozenset({"fp16"})  # schemes that only a whole variant can have


@dataclass(frozen=True, slots=True)
class Setting:
    """What one layer shall be."""

    scheme: Scheme
    granularity: Granularity = "channel"
    symmetric: bool = True

    @property
    def integer(self) -> bool:
        """Say whether the layer computes in integers, by ranges that were measured before."""
        return self.scheme in MEASURED

    @property
    def dynamic(self) -> bool:
        """Say whether it does by ranges that every pass measures anew."""
        return self.scheme == "w8a8_dynamic"

    @property
    def weight_bits(self) -> int:
        """Return the bits that a weight takes."""
        return {"fp32": 32, "fp16": 16, "w4": 4, "palette6": 6}.get(self.scheme, 8)


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """One graph of a recipe: a setting for every layer."""

    graph: str
    layers: tuple[Layer, ...]
    settings: Mapping[str, Setting]
    between: Literal["int8", "float"] = "int8"
    bias_correction: bool = True
    fp16: bool = field(default=False)
    ranges: Mapping[str, Range] = field(default_factory=dict)  # learnt: LAYER:input, LAYER:result

    @property
    def key(self) -> list[object]:
        """Return everything that decides the file, as JSON has it."""
        settings = {n: [s.scheme, s.granularity, s.symmetric] for n, s in self.settings.items()}
        rest = [self.between, self.bias_correction, self.fp16, dict(self.ranges)]
        return [self.graph, settings, *rest]

    def range_of(self, layer: str, side: str) -> Range | None:
        """Return the learnt range of a layer's `input` or `result`; None where it is to be measured."""
        return self.ranges.get(f"{layer}:{side}")

    def of(self, scheme: Scheme) -> tuple[Layer, ...]:
        """Return the layers that have a scheme."""
        return tuple(layer for layer in self.layers if self.settings[layer.name].scheme == scheme)

    @property
    def integer(self) -> tuple[Layer, ...]:
        """Return the layers that compute in integers."""
        return tuple(layer for layer in self.layers if self.settings[layer.name].integer)


def make_plan(
    recipe: Recipe, layers: Mapping[str, Sequence[Layer]], formats: Sequence[str]
) -> dict[str, GraphPlan]:
    """Give every layer of every graph its setting.

    Args:
        recipe: what is wanted.
        layers: by graph.
        formats: those that shall be written.

    Raises:
        InputError: rules match nothing, or a format cannot do what is asked; all faults are named.

    """
    faults = [*_unmatched(recipe, layers), *_impossible(recipe, formats)]
    if faults:
        raise InputError(f"recipe {recipe.name}: " + "; ".join(faults))
    return {
        graph: GraphPlan(
            graph=graph,
            layers=tuple(layers[graph]),
            settings={layer.name: _setting(recipe, graph, layer) for layer in layers[graph]},
            between=recipe.between,
            bias_correction=recipe.bias_correction,
            fp16=recipe.scheme == "fp16",
        )
        for graph in GRAPHS
    }


def _setting(recipe: Recipe, graph: str, layer: Layer) -> Setting:
    setting = Setting(recipe.scheme, recipe.granularity, recipe.symmetric)
    for rule in recipe.rules:
        if rule.matches(graph, layer.name, layer.kind):
            granularity = rule.granularity or setting.granularity
            symmetric = setting.symmetric if rule.symmetric is None else rule.symmetric
            setting = Setting(rule.scheme, granularity, symmetric)
    return setting


def _unmatched(recipe: Recipe, layers: Mapping[str, Sequence[Layer]]) -> list[str]:
    faults = []
    for number, rule in enumerate(recipe.rules, 1):
        if not any(rule.matches(g, one.name, one.kind) for g in layers for one in layers[g]):
            nearest = ", ".join(_nearest(rule, layers)) or "none"
            faults.append(
                f"rule {number} ({rule.where}) matches no layer; the nearest are {nearest}"
            )
    return faults


def _nearest(rule: Rule, layers: Mapping[str, Sequence[Layer]]) -> list[str]:
    graphs = [rule.graph] if rule.graph else list(layers)
    names = {layer.name: f"{graph} {layer.name}" for graph in graphs for layer in layers[graph]}
    plain = (rule.layers or "").replace("\\", "").replace(".*", "").rstrip(".")
    close = difflib.get_close_matches(plain, list(names), NUM_NEAREST, 0.3)
    return [names[name] for name in (close or list(names)[:NUM_NEAREST])]


def _impossible(recipe: Recipe, formats: Sequence[str]) -> list[str]:
    faults = []
    for format in formats:
        for scheme in sorted(recipe.schemes):
            if (format, scheme) in IMPOSSIBLE:
                why, nearest = IMPOSSIBLE[format, scheme]
                faults.append(f"{format} cannot be {scheme}: {why}; the nearest is {nearest}")
        if format == "tflite":
            faults += _tflite_faults(recipe)
    if len(recipe.schemes) > 1 and (halved := recipe.schemes & WHOLE):
        faults.append(
            f"{', '.join(sorted(halved))} is of a whole variant, not of single layers; the nearest is w8"
        )
    return faults


def _tflite_faults(recipe: Recipe) -> list[str]:
    kinds = [(recipe.scheme, recipe.symmetric, recipe.granularity)]
    kinds += [
        (
            rule.scheme,
            recipe.symmetric if rule.symmetric is None else rule.symmetric,
            rule.granularity or recipe.granularity,
        )
        for rule in recipe.rules
    ]
    if any(
        scheme in ("w8", "w8a8", "w8a8_dynamic", "w4") and not symmetric
        for scheme, symmetric, _ in kinds
    ):
        return [
            "tflite cannot have asymmetric weights: its integer kernels have no weight zero point;"
            " the nearest is symmetric = true"
        ]
    return []
