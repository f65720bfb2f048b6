"""The row-then-column warp: two learned 1-D resamplings, each one batched matmul.

Why not `grid_sample`: every converter turns it into gathers, which phone delegates refuse
(docs/decisions/0002-row-column-warp.md). Shape suffixes: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def clamp_fields(fields_B2HW: Tensor, x_W: Tensor, y_H: Tensor) -> tuple[Tensor, Tensor]:
    """Return dx and dy [B, H, W], limited so that every position stays inside the map."""
    h, w = fields_B2HW.shape[2:]
    # slices, because exporters make a gather of an index, and phone delegates refuse gathers
    dx, dy = fields_B2HW[:, :1].squeeze(1), fields_B2HW[:, 1:].squeeze(1)
    dx = torch.maximum(torch.minimum(dx, (w - 1) - x_W), -x_W)
    dy = torch.maximum(torch.minimum(dy, (h - 1) - y_H), -y_H)
    return dx, dy


def warp_twin(f_BCHW: Tensor, fields_B2HW: Tensor) -> Tensor:
    """Warp with two `grid_sample` calls: the same numbers, several times cheaper to differentiate.

    Args:
        f_BCHW: any map.
        fields_B2HW: displacements (dx, dy) in pixels of this map, source minus destination.

    Returns:
        The warped map, same shape and dtype.

    """
    b, _, h, w = f_BCHW.shape
    y_H = torch.arange(h, dtype=fields_B2HW.dtype, device=f_BCHW.device).view(1, h, 1)
    x_W = torch.arange(w, dtype=fields_B2HW.dtype, device=f_BCHW.device).view(1, 1, w)
    dx, dy = clamp_fields(fields_B2HW, x_W, y_H)
    # pixel centres in grid_sample's align_corners=False units
    column = ((2 * x_W + 1) / w - 1).expand(b, h, w)
    row = ((2 * y_H + 1) / h - 1).expand(b, h, w)
    along_x = torch.stack([column + dx * (2 / w), row], -1)
    along_y = torch.stack([column, row + dy * (2 / h)], -1)
    # float32 always: a bfloat16 position is off by half a pixel
    rows = F.grid_sample(f_BCHW.float(), along_x, align_corners=False, padding_mode="border")
    warped = F.grid_sample(rows, along_y, align_corners=False, padding_mode="border")
    return warped.to(f_BCHW.dtype)


class RowColumnWarp(nn.Module):
    """Warp maps of one fixed size along x and then along y.

    In training mode the `grid_sample` twin runs; in eval mode, which is what is exported, tent
    matrices built from displacements and two matmuls. No absolute position is ever a number of the
    graph, because float16 cannot hold it well enough.
    """

    offset: Tensor
    x: Tensor
    y: Tensor

    def __init__(self, side: int) -> None:
        """Make the constants of a `side` x `side` map."""
        super().__init__()
        step = torch.arange(side, dtype=torch.float32)
        source_minus_destination = step.view(side, 1) - step.view(1, side)
        self.register_buffer(
            "offset", source_minus_destination.view(1, 1, side, side), persistent=False
        )
        self.register_buffer("x", step.view(1, 1, side), persistent=False)
        self.register_buffer("y", step.view(1, side, 1), persistent=False)

    def forward(self, f_BCHW: Tensor, fields_B2HW: Tensor) -> Tensor:
        """Warp `f_BCHW` by (dx, dy) in pixels of this map; returns the same shape."""
        if self.training:
            return warp_twin(f_BCHW, fields_B2HW)
        dx, dy = clamp_fields(fields_B2HW, self.x, self.y)
        tent_x = F.relu(1 - (self.offset - dx.unsqueeze(2)).abs())  # B, H, source, destination
        rows = torch.matmul(f_BCHW.permute(0, 2, 1, 3), tent_x)  # B, H, C, destination
        tent_y = F.relu(1 - (self.offset - dy.permute(0, 2, 1).unsqueeze(2)).abs())
        return torch.matmul(rows.permute(0, 3, 2, 1), tent_y).permute(0, 2, 3, 1)
