"""Fake quantization in training: numbers are rounded as integers would be, gradients pass through.

Ranges of activations are learnt with the weights (Esser et al. 2020, "Learned step size quantization";
Bhalgat et al. 2020 add the zero point). Weights are rounded by the very rule that files are written by.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketportrait.models.layers import ConvNorm
from pocketportrait.quantize.plan import GraphPlan, Range, Setting
from pocketportrait.quantize.sites import LayerSites, Site

OBSERVED = 10  # passes in training that only look at the numbers
STEPS = 255  # of 8 bits
NARROWEST = 1e-6  # width of a range


class FakeRange(nn.Module):
    """One tensor's range: looked at first, then learnt."""

    seen: Tensor

    def __init__(self, site: Site) -> None:
        """Start with no range at all."""
        super().__init__()
        self.site = site
        self.low = nn.Parameter(torch.zeros(1), requires_grad=not site.floor)
        self.high = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` on the 256 steps of the range; as it is while nothing was seen."""
        looking = self.training and bool(self.seen < OBSERVED)
        if looking:
            self._look(x)
        if not self.seen:
            return x
        low, high = self._bounds()
        if looking:  # the next pass of the same step may move them
            low, high = low.detach().clone(), high.detach().clone()
        scale = (high - low).clamp(min=NARROWEST) / STEPS
        zero = _rounded(-low / scale)
        return (_rounded((x / scale + zero).clamp(0, STEPS)) - zero) * scale

    @torch.no_grad()
    def _look(self, x: Tensor) -> None:
        """Widen the range of a layer's result; of what is made in float, follow the pictures' mean.

        As files have them (docs/decisions/0006): rare extremes would take most of the steps.
        """
        if self.site.is_result:
            low, high = torch.minimum(self.low, x.min()), torch.maximum(self.high, x.max())
        else:
            each, share = x.flatten(1), 1 / (self.seen + 1)
            low = self.low + (each.amin(1).mean() - self.low) * share
            high = self.high + (each.amax(1).mean() - self.high) * share
        self.low.copy_(low.clamp(max=0) * (not self.site.floor))
        self.high.copy_(high.clamp(max=self.site.ceiling))
        self.seen += 1

    def _bounds(self) -> tuple[Tensor, Tensor]:
        low, high = self.low.clamp(max=0), self.high.clamp(min=0, max=self.site.ceiling)
        return low, torch.maximum(high, low + NARROWEST)

    def pair(self) -> Range:
        """Return the smallest and the largest number."""
        low, high = self._bounds()
        return float(low.detach()), float(high.detach())


def _rounded(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def fake_weight(weight: Tensor, setting: Setting) -> Tensor:
    """Return a weight [out, in, ...] on its steps; gradients pass as if it were float.

    The same numbers as `quantize_weight` and the formats' tools make.
    """
    with torch.no_grad():
        over = tuple(range(1, weight.ndim)) if setting.granularity == "channel" else None
        largest = 2 ** (setting.weight_bits - 1) - 1
        if setting.symmetric:
            top = weight.abs().amax(over if over else tuple(range(weight.ndim)), keepdim=True)
            scale = torch.where(top > 0, top / largest, 1.0)
            near = (weight / scale).round().clamp(-largest, largest) * scale
        else:
            axes = over if over else tuple(range(weight.ndim))
            low = weight.amin(axes, keepdim=True).clamp(max=0)
            high = weight.amax(axes, keepdim=True).clamp(min=0)
            steps = 2 * largest + 1
            scale = torch.where(high > low, (high - low) / steps, 1.0)
            zero = (-low / scale).round()
            near = (((weight / scale).round() + zero).clamp(0, steps) - zero) * scale
    return weight + (near - weight).detach()


def attach(
    graph: nn.Module, plan: GraphPlan, sites: Mapping[str, LayerSites], ranges: nn.ModuleDict
) -> None:
    """Let the layers of a graph compute as their settings say, from now on.

    The graph's parameters keep their names; ranges live in `ranges`, by the name of their site.

    Args:
        graph: of the student; batch norms folded before (`fold_norms`).
        plan: a setting for every layer.
        sites: of the integer layers.
        ranges: filled with what is missing.

    """
    for layer in plan.layers:
        setting = plan.settings[layer.name]
        if setting.scheme == "fp32":
            continue
        module = graph.get_submodule(layer.name)
        takes = gives = None
        if setting.integer:
            where = sites[layer.name]
            takes = None if where.input.is_result else _range(ranges, where.input)
            gives = _range(ranges, where.result)
        _let_compute(module, setting, takes)
        if gives is not None:
            _last_of(graph, layer.name, module).register_forward_hook(
                lambda _module, _inputs, y, gives=gives: gives(y)
            )


def _let_compute(module: nn.Module, setting: Setting, takes: FakeRange | None) -> None:
    def compute(x: Tensor) -> Tensor:
        if takes is not None:
            x = takes(x)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        weight = fake_weight(module.weight, setting)
        if isinstance(module, nn.Conv2d):
            y: Tensor = module._conv_forward(x, weight, module.bias)
            return y
        return F.linear(x, weight, module.bias)

    module.forward = compute  # not a module around it: names in the state stay as they are


def _last_of(graph: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Return the module whose result is the layer's: the batch norm that is folded into it."""
    parent = graph.get_submodule(name.rpartition(".")[0])
    return parent[1] if isinstance(parent, ConvNorm) else module


def _range(ranges: nn.ModuleDict, site: Site) -> FakeRange:
    key = site.name.replace(".", "/")
    if key not in ranges:
        ranges[key] = FakeRange(site)
    found = ranges[key]
    assert isinstance(found, FakeRange)
    return found


@torch.no_grad()
def fold_norms(student: nn.Module) -> None:
    """Put every batch norm's scale into the convolution before it: the same function and names.

    What is left of the norm is a bias, so that rounded weights are those that files will hold.
    """
    for part in student.modules():
        if isinstance(part, ConvNorm):
            conv, norm = part[0], part[1]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            conv.weight.mul_(scale.view(-1, 1, 1, 1))
            norm.bias.sub_(norm.running_mean * scale)
            norm.weight.fill_(1)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
