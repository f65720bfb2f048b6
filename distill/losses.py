"""What a rendered picture and its fields are compared by.

Shape suffixes: B batch, C channels, H and W pixels, P mesh points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketportrait.distill.smoothing import box_mean

# landmark numbers of MediaPipe's face mesh around what people look at
MOUTH = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
EYE_RIGHT = (
    33,
    7,
    163,
    144,
    145,
    153,
    154,
    155,
    133,
    173,
    157,
    158,
    159,
    160,
    161,
    246,
    70,
    63,
    105,
    66,
    107,
)
EYE_LEFT = (
    263,
    249,
    390,
    373,
    374,
    380,
    381,
    382,
    362,
    398,
    384,
    385,
    386,
    387,
    388,
    466,
    300,
    293,
    334,
    296,
    336,
)
LIDS = 16  # of each eye's points; the brow's follow
# points, weight, margin in box sizes
REGIONS = (
    (MOUTH, 10.0, 0.25),
    (EYE_RIGHT, 6.0, 0.15),
    (EYE_LEFT, 6.0, 0.15),
    (EYE_RIGHT[:LIDS], 14.0, 0.15),
    (EYE_LEFT[:LIDS], 14.0, 0.15),
)


def region_weight(points_BP2: Tensor, side: int) -> Tensor:
    """Return [B, 1, side, side] with mean 1, higher in the boxes of mouth and eyes."""
    pixels = (torch.arange(side, device=points_BP2.device) + 0.5) / side
    weight = points_BP2.new_ones(len(points_BP2), 1, side, side)
    for numbers, strength, margin in REGIONS:
        chosen = points_BP2[:, list(numbers)]
        low, high = chosen.amin(1), chosen.amax(1)
        pad = (high - low).amax(1, keepdim=True) * margin
        low, high = (low - pad)[:, :, None], (high + pad)[:, :, None]
        inside = (pixels >= low) & (pixels <= high)  # B, 2, side
        box = inside[:, 1, :, None] & inside[:, 0, None, :]
        weight = weight.masked_fill(box[:, None], strength)
    return weight / weight.mean((1, 2, 3), keepdim=True)


def pyramid_loss(a_BCHW: Tensor, b_BCHW: Tensor, weight_B1HW: Tensor, levels: int = 4) -> Tensor:
    """Return the weighted L1 distance of values and of gradients, summed over halved sizes."""
    total = a_BCHW.new_zeros(())
    for level in range(levels):
        difference = a_BCHW - b_BCHW
        along_x = difference[..., 1:] - difference[..., :-1]
        along_y = difference[..., 1:, :] - difference[..., :-1, :]
        total = total + (difference.abs() * weight_B1HW).mean()
        total = total + (along_x.abs() * weight_B1HW[..., 1:]).mean()
        total = total + (along_y.abs() * weight_B1HW[..., 1:, :]).mean()
        if level + 1 < levels:
            a_BCHW, b_BCHW, weight_B1HW = (
                F.avg_pool2d(x, 2) for x in (a_BCHW, b_BCHW, weight_B1HW)
            )
    return total


def ssim_loss(a_BCHW: Tensor, b_BCHW: Tensor, weight_B1HW: Tensor) -> Tensor:
    """Return 1 - weighted structural similarity (Wang et al. 2004) of grey pictures, 7x7 box window."""
    a, b = a_BCHW.mean(1, keepdim=True), b_BCHW.mean(1, keepdim=True)
    moments = box_mean(torch.cat([a, b, a * a, b * b, a * b], 1), 7)
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, 1)
    variance = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    score = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance + c2)
    )
    return ((1 - score) * weight_B1HW[..., 3:-3, 3:-3]).mean()


def grid_loss(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Return the size of patterns with a period of 4 pixels in the difference of two pictures.

    Two pixel shuffles can draw 4x4 tiles that repeat; nothing in a face does. Each of a tile's 16
    places is averaged over 5x5 tiles, in which a pattern stays and details cancel, and compared
    with the mean of all places.
    """
    tiles = F.pixel_unshuffle((a_BCHW - b_BCHW).mean(1, keepdim=True), 4)
    places = box_mean(tiles, 5)
    return (places - places.mean(1, keepdim=True)).abs().mean()


def mesh_flow_loss(
    fields_B2HW: Tensor, photo_BP2: Tensor, target_BP2: Tensor, weight_P: Tensor
) -> Tensor:
    """Return how far the fields are from the landmarks' own displacements, in pixels of the fields' map.

    The two passes read `dy` at the target's place and `dx` at (target x, photo y): that is where
    each is compared.
    """
    side = fields_B2HW.shape[-1]
    moved = (photo_BP2 - target_BP2) * side
    halfway = torch.stack([target_BP2[..., 0], photo_BP2[..., 1]], -1)
    dx = _read(fields_B2HW[:, :1], halfway)
    dy = _read(fields_B2HW[:, 1:], target_BP2)
    return (((dx - moved[..., 0]).abs() + (dy - moved[..., 1]).abs()) * weight_P).mean()


def mesh_weight(points: int = 478) -> Tensor:
    """Return [P] with mean 1: landmarks of mouth and eyes count six times, inner lips eight."""
    weight = torch.ones(points)
    for numbers, *_ in REGIONS:
        weight[list(numbers)] = 6.0
    inner_lips = (
        78,
        95,
        88,
        178,
        87,
        14,
        317,
        402,
        318,
        324,
        308,
        191,
        80,
        81,
        82,
        13,
        312,
        311,
        310,
        415,
    )
    weight[list(inner_lips)] = 8.0
    return weight / weight.mean()


def smoothness_loss(fields_B2HW: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring displacements."""
    along_x = (fields_B2HW[..., 1:] - fields_B2HW[..., :-1]).abs().mean()
    return along_x + (fields_B2HW[..., 1:, :] - fields_B2HW[..., :-1, :]).abs().mean()


def _read(map_B1HW: Tensor, points_BP2: Tensor) -> Tensor:
    grid = (points_BP2 * 2 - 1).unsqueeze(2)
    return F.grid_sample(map_B1HW, grid, align_corners=False, padding_mode="border")[:, 0, :, 0]
