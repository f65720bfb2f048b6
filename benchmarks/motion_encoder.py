"""How fast a motion encoder of plain 3x3 convolutions trains against one of inverted residuals.

    .venv/bin/python benchmarks/motion_encoder.py [--batch 32] [--json PATH]

Forward and backward in bfloat16 autocast, channels last, as training runs them. Steps of the two
alternate; the ratio of the medians is the figure to quote, milliseconds are this machine's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pocketportrait import atomic
from pocketportrait.models.dims import phone
from pocketportrait.models.layers import ConvNorm
from pocketportrait.models.student import Motion
from pocketportrait.validation.machine import describe_machine

WARMUP, REPEATS = 2, 7
WIDTHS = (16, 24, 48, 96, 112)  # gives about the multiplications of the phone preset


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): expand 4 times, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make the block; it adds its input where shapes allow."""
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        hidden = 4 * inputs
        self.body = nn.Sequential(
            ConvNorm(inputs, hidden, 1),
            ConvNorm(hidden, hidden, 3, stride, hidden),
            ConvNorm(hidden, outputs, 1, active=False),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.body(x_BCHW)
        return x_BCHW + y if self.residual else y


def inverted_motion() -> Motion:
    """Return the phone's motion encoder with its body exchanged for inverted residuals."""
    motion = Motion(phone())
    blocks: list[nn.Module] = [ConvNorm(3, WIDTHS[0], stride=2)]
    for depth, (inputs, outputs) in enumerate(itertools.pairwise(WIDTHS)):
        blocks.append(InvertedResidual(inputs, outputs, 2))
        blocks += [InvertedResidual(outputs, outputs, 1) for _ in range(1 if depth == 0 else 2)]
    motion.body = nn.Sequential(*blocks, ConvNorm(WIDTHS[-1], 32, 1))
    return motion


def step_ms(motion: Motion, frames: Tensor) -> float:
    """Return the milliseconds of one forward and backward pass."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        code = motion(frames)
    code.float().sum().backward()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    frames = torch.rand(options.batch, 3, 256, 256).contiguous(memory_format=torch.channels_last)
    kinds = {"3x3 convolutions": Motion(phone()), "inverted residuals": inverted_motion()}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    found = {}
    for name, motion in kinds.items():
        motion.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            motion.eval()(frames[:1])
        found[name] = {"gmac": counter.get_total_flops() / 2e9}
        motion.train()
    for repeat in range(WARMUP + REPEATS):
        for name, motion in kinds.items():
            took = step_ms(motion, frames)
            if repeat >= WARMUP:
                times[name].append(took)
    for name, row in found.items():
        row["p50_ms"] = float(np.median(times[name]))
        print(
            f"{name:20} {row['gmac']:.3f} GMAC a frame, {row['p50_ms']:.0f} ms a step of {options.batch}"
        )
    ratio = found["inverted residuals"]["p50_ms"] / found["3x3 convolutions"]["p50_ms"]
    print(f"ratio {ratio:.2f} on {describe_machine()}")
    if options.json:
        atomic.write_bytes(options.json, json.dumps({"ratio": ratio, **found}, indent=2).encode())


if __name__ == "__main__":
    main()
