"""Where integer arithmetic rounds: one site a tensor, however many layers take or give it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pocketportrait.quantize.plan import INPUT, RESULT, GraphPlan

if TYPE_CHECKING:
    import onnx

MOVES = {"Transpose", "Reshape"}  # the same numbers in another order
ACTIVATIONS = {"Relu", "Clip"}  # part of the layer before, in every format
SIX = 6.0  # where ReLU6 ends


@dataclass(frozen=True, slots=True)
class Site:
    """A tensor that is rounded to 8 bits; its name is `LAYER:input` or `LAYER:result`."""

    name: str
    floor: bool = False  # no number below zero passes the activation that follows
    ceiling: float = math.inf  # no number above this passes

    @property
    def is_result(self) -> bool:
        """Say whether a layer gives the tensor, rather than something made from it in float."""
        return self.name.endswith(":result")


@dataclass(frozen=True, slots=True)
class LayerSites:
    """Where the input and the result of one integer layer are rounded."""

    input: Site
    result: Site


def find_sites(model: onnx.ModelProto, plan: GraphPlan) -> dict[str, LayerSites]:
    """Return the sites of every integer layer of a graph.

    A layer that takes what another integer layer gives shares its site; so do two layers that take
    the same tensor.

    Args:
        model: the graph's float32 ONNX model.
        plan: says which layers compute in integers.

    """
    users: dict[str, list[Any]] = {}
    maker = {name: node for node in model.graph.node for name in node.output}
    by_name = {node.name: node for node in model.graph.node}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    given: dict[str, Site] = {}  # by value
    results: dict[str, Site] = {}  # by layer
    for layer in plan.integer:
        kinds = set()
        values = []
        for node in (by_name[name] for name in layer.nodes):
            after = users.get(node.output[0], [])
            fused = len(after) == 1 and after[0].op_type in ACTIVATIONS
            kinds.add(after[0].op_type if fused else "")
            values.append(after[0].output[0] if fused else node.output[0])
        floor = "" not in kinds  # a clip begins at zero: it is ReLU6
        ceiling = SIX if kinds == {"Clip"} else math.inf
        results[layer.name] = Site(f"{layer.name}:{RESULT}", floor, ceiling)
        given.update(dict.fromkeys(values, results[layer.name]))
    found = {}
    for layer in plan.integer:
        taken = [_unmoved(by_name[name].input[0], given, maker) for name in layer.nodes]
        own = Site(f"{layer.name}:{INPUT}")
        sites = {given.setdefault(value, own) for value in taken}
        # a module that runs on two tensors has one range for both
        found[layer.name] = LayerSites(sites.pop() if len(sites) == 1 else own, results[layer.name])
    return found


def _unmoved(value: str, given: dict[str, Site], maker: dict[str, Any]) -> str:
    while value not in given and value in maker and maker[value].op_type in MOVES:
        value = maker[value].input[0]
    return value
