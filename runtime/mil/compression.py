"""Weights that are stored small (`constexpr_*`) and activations that are quantized on the way."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pocketportrait.contract import Array
from pocketportrait.runtime.mil.call import Call, Kernel

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def _along_axis(call: Call, name: str, data: Array) -> Array:
    """Return a scale or zero point as float32 that broadcasts against `data`."""
    value = call.array(name).astype(np.float32)
    if value.ndim in (0, data.ndim):
        return value
    shape = [1] * data.ndim
    shape[call.integer("axis")] = value.size
    return value.reshape(shape)


def _unpack_bits(packed: Array, bits: int, count: int) -> Array:
    """Return `count` numbers of `bits` bits each, stored least significant bit first."""
    stream = np.unpackbits(packed.reshape(-1).view(np.uint8), bitorder="little")[: count * bits]
    return stream.reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits))


def _spread(value: Array, shape: tuple[int, ...]) -> Array:
    """Repeat every item of a block-wise value over its block, up to `shape`."""
    for axis, size in enumerate(shape):
        value = np.repeat(value, size // value.shape[axis], axis=axis)
    return value


def _affine_dequantize(call: Call) -> Tensor:
    data = call.array("quantized_data")
    zero_point, scale = _along_axis(call, "zero_point", data), _along_axis(call, "scale", data)
    return torch.from_numpy((data.astype(np.float32) - zero_point) * scale)


def _blockwise_shift_scale(call: Call) -> Tensor:
    data = call.array("data").astype(np.float32)
    return torch.from_numpy(_shift_scale(call, data))


def _shift_scale(call: Call, data: Array) -> Array:
    if call.has("offset"):
        data = data - _spread(call.array("offset").astype(np.float32), data.shape)
    return np.asarray(data * _spread(call.array("scale").astype(np.float32), data.shape))


def _look_up(call: Call, indices: Array) -> Array:
    """Look grouped palettes up: `lut` is [groups of every axis.., palette, vector]."""
    lut = call.array("lut").astype(np.float32)
    axes = indices.ndim
    groups = np.ix_(
        *[np.arange(n) * g // n for n, g in zip(indices.shape, lut.shape[:axes], strict=True)]
    )
    vectors = lut[(*groups, indices)]
    if lut.shape[-1] == 1:
        return np.asarray(vectors[..., 0])
    axis = call.integer("vector_axis") % axes
    beside = np.moveaxis(vectors, -1, axis + 1)
    shape = [n * (lut.shape[-1] if i == axis else 1) for i, n in enumerate(indices.shape)]
    return np.asarray(beside.reshape(shape))


def _lut_to_dense(call: Call) -> Tensor:
    indices = call.array("indices")
    if not call.has("shape"):
        return torch.from_numpy(_look_up(call, indices.astype(np.int64)))
    lut = call.array("lut").astype(
        np.float32
    )  # before iOS18: one palette, indices as a stream of bits
    shape = call.integers("shape")
    numbers = _unpack_bits(indices, int(np.log2(lut.size)), int(np.prod(shape)))
    return torch.from_numpy(lut[numbers].reshape(shape))


def _scatter(mask: Array, values: Array) -> Array:
    dense = np.zeros(mask.shape, values.dtype)
    dense[mask] = values.reshape(-1)[: int(mask.sum())]
    return dense


def _sparse_to_dense(call: Call) -> Tensor:
    mask, values = call.array("mask"), call.array("nonzero_data").astype(np.float32)
    if call.has("shape"):  # before iOS18: the mask is a stream of bits
        shape = call.integers("shape")
        mask = _unpack_bits(mask, 1, int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(_scatter(mask != 0, values))


def _lut_to_sparse(call: Call) -> list[Tensor]:
    mask = call.array("indices_mask") != 0
    dense = _look_up(call, _scatter(mask, call.array("indices_nonzero_data").astype(np.int64)))
    if dense.shape != mask.shape:
        for axis, size in enumerate(dense.shape):
            mask = np.repeat(mask, size // mask.shape[axis], axis=axis)
    return [torch.from_numpy(mask.astype(np.uint8)), torch.from_numpy(dense[mask])]


def _sparse_blockwise_shift_scale(call: Call) -> list[Tensor]:
    mask = call.array("data_mask") != 0
    dense = _shift_scale(call, _scatter(mask, call.array("nonzero_data").astype(np.float32)))
    return [torch.from_numpy(mask.astype(np.uint8)), torch.from_numpy(dense[mask])]


def _constexpr_cast(call: Call) -> Tensor:
    return call.tensor("source_val")


def _quantize(call: Call) -> Tensor:
    data = call.tensor("input").numpy()
    low, high = RANGES[call.text("output_dtype")]
    zero_point = _along_axis(call, "zero_point", data) if call.has("zero_point") else 0
    steps = np.round(data / _along_axis(call, "scale", data)) + zero_point
    return torch.from_numpy(np.clip(steps, low, high))


def _dequantize(call: Call) -> Tensor:
    data = call.tensor("input").float().numpy()
    zero_point = _along_axis(call, "zero_point", data) if call.has("zero_point") else 0
    return torch.from_numpy(np.asarray((data - zero_point) * _along_axis(call, "scale", data)))


KERNELS: dict[str, Kernel] = {
    "constexpr_affine_dequantize": _affine_dequantize,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_lut_to_dense": _lut_to_dense,
    "constexpr_sparse_to_dense": _sparse_to_dense,
    "constexpr_lut_to_sparse": _lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": _sparse_blockwise_shift_scale,
    "constexpr_cast": _constexpr_cast,
    "quantize": _quantize,
    "dequantize": _dequantize,
}
