"""A graph of the student as a Core ML `.mlpackage` (an ML program)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pocketportrait.contract import GraphSpec, TensorSpec
from pocketportrait.export.converter import converter
from pocketportrait.export.example import check_module, example_inputs
from pocketportrait.export.mlpackage import PIXEL, Io, save_checked


class _PixelsOut(nn.Module):
    """A graph whose pictures leave as pixels 0..255, as Core ML images want them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.network(*tensors)
        return image * PIXEL


def to_coreml(
    module: nn.Module, spec: GraphSpec, path: Path, *, precision: str = "fp32", io: Io = "tensor"
) -> Path:
    """Write `module` as an ML program for iOS 17 with the names and shapes of its contract.

    Args:
        module: a graph of the student, in eval mode.
        spec: its contract.
        path: `.mlpackage` folder to write or replace.
        precision: `fp32` or `fp16`: weights and arithmetic; multi-arrays stay float32 either way.
        io: `tensor`: float32 multi-arrays, NCHW; `image`: pictures are Core ML images.

    Raises:
        InputError: the module is in training mode, the precision is unknown, or the place cannot be
            written to.
        MissingToolError: the `export` extra is not installed.
        ConverterError: coremltools failed, or wrote another package than asked for.

    """
    check_module(module, precision)
    with converter("coremltools"):
        model = _convert(module, spec, precision, io)
    return save_checked(model, spec, path, io=io)


def _convert(module: nn.Module, spec: GraphSpec, precision: str, io: Io) -> Any:
    import coremltools as ct  # takes seconds to import
    import numpy as np

    images_out = io == "image" and any(t.is_image for t in spec.outputs)
    network = _PixelsOut(module).eval() if images_out else module
    with torch.no_grad():
        program = torch.export.export(network, example_inputs(spec)).run_decompositions({})

    def image(tensor: TensorSpec) -> bool:
        return io == "image" and tensor.is_image

    rgb = ct.colorlayout.RGB
    inputs = [
        ct.ImageType(name=t.name, shape=t.shape, scale=1 / PIXEL, color_layout=rgb)
        if image(t)
        else ct.TensorType(name=t.name, shape=t.shape, dtype=np.float32)
        for t in spec.inputs
    ]
    outputs = [
        ct.ImageType(name=t.name, color_layout=rgb)
        if image(t)
        else ct.TensorType(name=t.name, dtype=np.float32)
        for t in spec.outputs
    ]
    return ct.convert(
        program,
        inputs=inputs,
        outputs=outputs,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
