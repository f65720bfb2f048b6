"""Which operation of a TFLite or Core ML file is which layer: recognised by its weights.

Converters rename operations, and Core ML keeps no names at all where a batch norm was folded; numbers
survive. Layers of one shape whose weights are alike (some start as zeros) are told apart by their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pocketportrait.contract import Array
from pocketportrait.errors import ConverterError
from pocketportrait.quantize.layers import Layer

CLOSE = 1e-3  # of the largest weight; folding a batch norm in another order costs a few ulp


def match_layers(
    layers: Sequence[Layer], weights: Mapping[str, Array], file: str
) -> dict[str, str]:
    """Name the layer of every weight of a file.

    Args:
        layers: of the ONNX fp32 file.
        weights: float constants by any key, each [out, in, ...] as ONNX has it, in order of
            execution; those that are no layer's are passed over.
        file: for the message.

    Returns:
        Key of the weight to name of the layer.

    Raises:
        ConverterError: a layer has no weights in the file.

    """
    left = list(layers)
    found: dict[str, str] = {}
    for key, weight in weights.items():
        layer = next((one for one in left if _alike(one.weight, weight)), None)
        if layer is None:
            continue  # a fixed matrix
        left.remove(layer)
        found[key] = layer.name
    if left:
        raise ConverterError(
            f"{file}: want weights of every layer of the ONNX fp32 file, got none of"
            f" {', '.join(one.name for one in left)}; export both formats from one student"
        )
    return found


def _alike(one: Array, other: Array) -> bool:
    if one.squeeze().shape != other.squeeze().shape:
        return False
    largest = float(np.abs(one).max())
    return float(np.abs(one.squeeze() - other.squeeze()).max()) <= CLOSE * largest + 1e-12
