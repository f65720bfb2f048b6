from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pocketportrait.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
F = torch.nn.functional

RNG = np.random.default_rng(3)
X = RNG.standard_normal((1, 8, 6, 5), dtype=np.float32)
GRID = RNG.uniform(-1.3, 1.3, (1, 4, 3, 2)).astype(np.float32)
T = torch.from_numpy


def compare(got: list[Any], want: list[Any], names: Any) -> None:
    for name, ours, theirs in zip(names, got, want, strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-5, err_msg=name)


# the positions that the MIL reference prints for an axis of values 0, 1
REFERENCE = {
    ("UNALIGN_CORNERS", 5): [0.0, 0.1, 0.5, 0.9, 1.0],
    ("STRICT_ALIGN_CORNERS", 5): [0.0, 0.25, 0.5, 0.75, 1.0],
    ("DEFAULT", 5): [0.0, 0.4, 0.8, 1.0, 1.0],
    ("OFFSET_CORNERS", 5): [0.1, 0.3, 0.5, 0.7, 0.9],
    ("UNALIGN_CORNERS", 6): [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0],
    ("ALIGN_CORNERS", 6): [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
    ("ALIGN_CORNERS", 1): [0.5],
    ("STRICT_ALIGN_CORNERS", 1): [0.0],
}


def test_every_sampling_mode_agrees_with_the_mil_reference(
    run_mil: Callable[..., list[Any]],
) -> None:
    axis = np.array([0, 1], np.float32).reshape(1, 1, 1, 2)

    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.resize_bilinear(
                x=x, target_size_height=1, target_size_width=count, sampling_mode=mode
            )
            for mode, count in REFERENCE
        ]

    got = [value.reshape(-1) for value in run_mil(build, axis, target="iOS15")]
    compare(got, list(REFERENCE.values()), REFERENCE)


def test_bilinear_resizes_agree_with_torch(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        up = {"scale_factor_height": 2.0, "scale_factor_width": 3.0}
        size = {"shape": np.array([9, 4], np.int32), "resized_dims": np.uint32(2)}
        return [
            mb.upsample_bilinear(x=x, align_corners=False, **up),
            mb.upsample_bilinear(x=x, align_corners=True, **up),
            mb.resize(x=x, sampling_mode="UNALIGN_CORNERS", **size),
            mb.resize(x=x, sampling_mode="ALIGN_CORNERS", **size),
        ]

    want = [
        F.interpolate(T(X), size=size, mode="bilinear", align_corners=aligned)
        for size in ((12, 15), (9, 4))
        for aligned in (False, True)
    ]
    compare(run_mil(build, X), want, ["up", "up aligned", "resize", "resize aligned"])


def test_nearest_neighbours(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
            mb.resize_nearest_neighbor(x=x, target_size_height=9, target_size_width=4),
        ]

    want = [F.interpolate(T(X), size=size, mode="nearest") for size in ((12, 15), (9, 4))]
    compare(run_mil(build, X), want, ["upsample", "resize"])


def test_shuffles(run_mil: Callable[..., list[Any]]) -> None:
    even = X[:, :, :, :4]

    def build(mb: Any, x: Any) -> list[Any]:
        return [
            mb.pixel_shuffle(x=x, upscale_factor=2),
            mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)),
            mb.depth_to_space(x=x, block_size=2),
            mb.space_to_depth(x=x, block_size=2),
        ]

    cells = T(even).view(1, 2, 2, 2, 6, 4)  # ry, rx, channel
    want = [
        F.pixel_shuffle(T(even), 2),
        F.pixel_unshuffle(T(even), 2),
        cells.permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 12, 8),
        T(even).view(1, 8, 3, 2, 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 32, 3, 2),
    ]
    compare(
        run_mil(build, even), want, ["shuffle", "unshuffle", "depth to space", "space to depth"]
    )


@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_resample_is_grid_sample(run_mil: Callable[..., list[Any]], sampling: str) -> None:
    paddings = {
        ("constant", True): "zeros",
        ("constant", False): "zeros",
        ("border", False): "border",
        ("reflection", True): "reflection",
        ("symmetric", False): "reflection",
    }

    def build(mb: Any, x: Any, grid: Any) -> list[Any]:
        return [
            mb.resample(
                x=x, coordinates=grid, sampling_mode=sampling, padding_mode=padding, padding_value=0.0,
                coordinates_mode="normalized_minus_one_to_one", align_corners=aligned,
            )
            for padding, aligned in paddings
        ]  # fmt: skip

    want = [
        F.grid_sample(T(X), T(GRID), mode=sampling, padding_mode=padding, align_corners=aligned)
        for (_, aligned), padding in paddings.items()
    ]
    compare(run_mil(build, X, GRID), want, paddings)


def test_resample_in_other_units_with_another_ground(run_mil: Callable[..., list[Any]]) -> None:
    pixels = (GRID + 1) / 2 * np.array([4, 5], np.float32)

    def build(mb: Any, x: Any, unit: Any, pixel: Any) -> list[Any]:
        common = {"x": x, "sampling_mode": "bilinear", "padding_value": 3.0, "align_corners": True}
        return [
            mb.resample(
                coordinates=unit,
                coordinates_mode="normalized_zero_to_one",
                padding_mode="constant",
                **common,
            ),
            mb.resample(
                coordinates=pixel, coordinates_mode="unnormalized", padding_mode="border", **common
            ),
        ]

    want = [
        F.grid_sample(T(X) - 3, T(GRID), align_corners=True) + 3,
        F.grid_sample(T(X), T(GRID), padding_mode="border", align_corners=True),
    ]
    compare(run_mil(build, X, (GRID + 1) / 2, pixels), want, ["0..1", "pixels"])


def test_a_variant_without_a_kernel_is_refused_by_name(run_mil: Callable[..., list[Any]]) -> None:
    def build(mb: Any, x: Any, grid: Any) -> Any:
        return mb.resample(
            x=x, coordinates=grid, sampling_mode="bilinear", padding_mode="symmetric", padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one", align_corners=True, name="odd",
        )  # fmt: skip

    with pytest.raises(InputError, match=r"resample 'odd': padding_mode 'symmetric'.*macOS"):
        run_mil(build, X, GRID)
