"""Operations that move values and compute nothing: reshapes, slices, joins, padding, gathers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.runtime.mil.call import Call, Kernel, last_axes_padding


def _to_declared_shape(call: Call) -> Tensor:
    return call.tensor("x").reshape(call.shape)


def _transpose(call: Call) -> Tensor:
    return call.tensor("x").permute(call.integers("perm"))


def _tile(call: Call) -> Tensor:
    return call.tensor("x").repeat(call.integers("reps"))


def _reverse(call: Call) -> Tensor:
    x = call.tensor("x")
    return x.flip(call.integers("axes") if call.has("axes") else list(range(x.dim())))


def _concat(call: Call) -> Tensor:
    values, axis = call.tensors("values"), call.integer("axis")
    if not call.flag("interleave"):
        return torch.cat(values, axis)
    axis %= values[0].dim()
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


def _stack(call: Call) -> Tensor:
    return torch.stack(call.tensors("values"), call.integer("axis"))


def _split(call: Call) -> list[Tensor]:
    x, axis = call.tensor("x"), call.integer("axis")
    if call.has("split_sizes"):
        return list(torch.split(x, call.integers("split_sizes"), axis))
    return list(torch.chunk(x, call.integer("num_splits"), axis))


def _slice_by_index(call: Call) -> Tensor:
    x = call.tensor("x")
    axes = x.dim()
    begin, end = call.integers("begin"), call.integers("end")
    stride = call.integers("stride") if call.has("stride") else [1] * axes
    from_start, to_end = call.flags("begin_mask", axes), call.flags("end_mask", axes)
    squeeze = call.flags("squeeze_mask", axes)
    index: list[int | slice] = []
    for i in range(axes):
        if squeeze[i]:
            index.append(begin[i])
        else:
            first, last = None if from_start[i] else begin[i], None if to_end[i] else end[i]
            index.append(slice(first, last, stride[i]))
    # numpy, because torch has no negative strides
    return torch.from_numpy(np.array(x.numpy()[tuple(index)]))


def _slice_by_size(call: Call) -> Tensor:
    x = call.tensor("x")
    for axis, (begin, size) in enumerate(
        zip(call.integers("begin"), call.integers("size"), strict=True)
    ):
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def _pad(call: Call) -> Tensor:
    x, pads, mode = call.tensor("x"), call.integers("pad"), call.text("mode")
    if mode == "constant":
        return F.pad(x, last_axes_padding(pads), value=call.number("constant_val"))
    if mode not in ("reflect", "replicate"):
        raise call.refuse(f"mode {mode!r}")
    modes = {"reflect": "reflect", "replicate": "edge"}
    pairs = [(pads[i], pads[i + 1]) for i in range(0, len(pads), 2)]
    every_axis = [(0, 0)] * (x.dim() - len(pairs)) + pairs
    # numpy, because torch wants a batch and at most 3 padded axes
    return torch.from_numpy(np.pad(x.numpy(), every_axis, mode=modes[mode]))  # type: ignore[call-overload]


def _gather(call: Call) -> Tensor:
    if call.has("batch_dims") and call.integer("batch_dims"):
        raise call.refuse("batch_dims")
    indices = call.tensor("indices").long().numpy()
    return torch.from_numpy(np.take(call.tensor("x").numpy(), indices, axis=call.integer("axis")))


def _gather_along_axis(call: Call) -> Tensor:
    indices = call.tensor("indices").long()
    return torch.take_along_dim(call.tensor("x"), indices, call.integer("axis"))


def _gather_nd(call: Call) -> Tensor:
    if call.has("batch_dims") and call.integer("batch_dims"):
        raise call.refuse("batch_dims")
    return call.tensor("x")[tuple(call.tensor("indices").long().unbind(-1))]


def _range(call: Call) -> Tensor:
    return torch.arange(call.number("start"), call.number("end"), call.number("step"))


def _shape(call: Call) -> Tensor:
    return torch.tensor(call.tensor("x").shape)


def _fill(call: Call) -> Tensor:
    return torch.full(call.shape, call.number("value"))


KERNELS: dict[str, Kernel] = {
    "reshape": _to_declared_shape,
    "expand_dims": _to_declared_shape,
    "squeeze": _to_declared_shape,
    "flatten2d": _to_declared_shape,
    "transpose": _transpose,
    "tile": _tile,
    "reverse": _reverse,
    "concat": _concat,
    "stack": _stack,
    "split": _split,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "pad": _pad,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "range_1d": _range,
    "shape": _shape,
    "fill": _fill,
    "fill_like": _fill,
}
