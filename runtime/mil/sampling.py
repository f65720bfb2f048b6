"""Operations that look a picture up at other positions: resizes, shuffles, resampling.

Positions follow the formulas of the MIL reference, in float64, so that every sampling mode is one
matrix per axis instead of a search for the library function that happens to agree.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.runtime.mil.call import Call, Kernel


def _positions(mode: str, size: int, count: int) -> Array:
    """Return where `count` outputs look on an axis of `size` values, before clamping."""
    step = np.arange(count, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if count == 1:
            return np.full(1, (size - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0)
        return step * (size - 1) / (count - 1)
    if mode == "DEFAULT":
        return step * size / count
    if mode == "OFFSET_CORNERS":
        return (step + 0.5) * max(1, size - 1) / count
    if mode == "UNALIGN_CORNERS":
        return (step + 0.5) * size / count - 0.5
    raise ValueError(f"unknown sampling mode {mode!r}")


def _taps(positions: Array, size: int) -> Tensor:
    """Return [count, size]: the weights of linear interpolation at `positions`."""
    clamped = np.clip(positions, 0, size - 1)
    low = np.floor(clamped).astype(np.int64)
    weights = np.zeros((len(clamped), size))
    rows = np.arange(len(clamped))
    weights[rows, low] = 1 - (clamped - low)
    weights[rows, np.minimum(low + 1, size - 1)] += clamped - low
    return torch.from_numpy(weights).float()


def _bilinear(call: Call, mode: str) -> Tensor:
    x, (height, width) = call.tensor("x"), call.shape[-2:]
    rows = _taps(_positions(mode, x.shape[-2], height), x.shape[-2])
    columns = _taps(_positions(mode, x.shape[-1], width), x.shape[-1])
    return rows @ x @ columns.T


def _nearest(call: Call) -> Tensor:
    x, (height, width) = call.tensor("x"), call.shape[-2:]
    row = torch.arange(height) * x.shape[-2] // height
    column = torch.arange(width) * x.shape[-1] // width
    return x[..., row, :][..., column]


def _upsample_bilinear(call: Call) -> Tensor:
    aligned = call.flag("align_corners")
    if not aligned and call.has("half_pixel_centers") and not call.flag("half_pixel_centers"):
        mode = "DEFAULT"
    else:
        mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS"
    return _bilinear(call, mode)


def _resize_bilinear(call: Call) -> Tensor:
    return _bilinear(call, call.text("sampling_mode"))


def _resize(call: Call) -> Tensor:
    x = call.tensor("x")
    resized = call.integer("resized_dims")
    if resized > 2 or x.dim() < 2:
        raise call.refuse(f"resizing {resized} axes")
    if call.text("interpolation_mode") == "LINEAR":
        return _resize_bilinear(call)
    if call.text("sampling_mode") != "DEFAULT":
        raise call.refuse(f"nearest neighbour with {call.text('sampling_mode')}")
    return _nearest(call)


def _resample(call: Call) -> Tensor:
    x, where = call.tensor("x"), call.tensor("coordinates").float()
    units, outside = call.text("coordinates_mode"), call.text("padding_mode")
    aligned = call.flag("align_corners")
    if units == "normalized_zero_to_one":
        where = where * 2 - 1
    elif units == "unnormalized":
        aligned = outside == "reflection"
        size = torch.tensor([x.shape[3], x.shape[2]])
        where = where / (size - 1) * 2 - 1 if aligned else (where * 2 + 1) / size - 1
    fitting = {"reflection": True, "symmetric": False}.get(outside, aligned)
    if aligned != fitting:  # torch reflects about centres when aligned, else about edges
        raise call.refuse(f"padding_mode {outside!r} with align_corners={aligned}")
    paddings = {
        "constant": "zeros",
        "border": "border",
        "reflection": "reflection",
        "symmetric": "reflection",
    }
    ground = call.number("padding_value") if outside == "constant" else 0.0
    sampled = F.grid_sample(
        x - ground,
        where,
        mode=call.text("sampling_mode"),
        padding_mode=paddings[outside],
        align_corners=aligned,
    )
    return sampled + ground


def _pixel_shuffle(call: Call) -> Tensor:
    return F.pixel_shuffle(call.tensor("x"), call.integer("upscale_factor"))


def _pixel_unshuffle(call: Call) -> Tensor:
    return F.pixel_unshuffle(call.tensor("x"), call.integer("downscale_factor"))


def _depth_to_space(call: Call) -> Tensor:
    x, block = call.tensor("x"), call.integer("block_size")
    n, c, h, w = x.shape
    cells = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return cells.reshape(call.shape)


def _space_to_depth(call: Call) -> Tensor:
    x, block = call.tensor("x"), call.integer("block_size")
    n, c, h, w = x.shape
    cells = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return cells.reshape(call.shape)


KERNELS: dict[str, Kernel] = {
    "upsample_nearest_neighbor": _nearest,
    "resize_nearest_neighbor": _nearest,
    "upsample_bilinear": _upsample_bilinear,
    "resize_bilinear": _resize_bilinear,
    "resize": _resize,
    "resample": _resample,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
}
