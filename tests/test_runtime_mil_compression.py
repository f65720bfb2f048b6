from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketportrait.runtime.coreml_package import import_coremltools

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")

RNG = np.random.default_rng(4)
X = RNG.standard_normal((1, 16, 6, 5), dtype=np.float32)
WEIGHT = RNG.standard_normal((32, 16, 3, 3), dtype=np.float32)


@pytest.fixture(scope="module", params=["iOS16", "iOS18"])
def convolution(request: pytest.FixtureRequest) -> Any:
    """A model of one convolution, in coremltools' hands."""
    ct = import_coremltools()
    mb = ct.converters.mil.Builder
    target = getattr(ct.target, request.param)

    @mb.program(input_specs=[mb.TensorSpec(X.shape)], opset_version=target)
    def main(x: Any) -> Any:
        return mb.conv(x=x, weight=WEIGHT)

    return ct.convert(
        main,
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )


def schemes(version: int) -> dict[str, Callable[[Any], Any]]:
    """Return the weight compressions that a specification version has, by name."""
    import coremltools.optimize.coreml as cto

    def with_config(compress: Callable[..., Any], config: Any) -> Callable[[Any], Any]:
        whole = cto.OptimizationConfig(global_config=config)
        return lambda model: compress(model, whole)

    linear, palette, prune = cto.linear_quantize_weights, cto.palettize_weights, cto.prune_weights
    found = {
        "int8 symmetric": with_config(linear, cto.OpLinearQuantizerConfig(mode="linear_symmetric")),
        "uint8 with offset": with_config(
            linear, cto.OpLinearQuantizerConfig(mode="linear", dtype="uint8")
        ),
        "6-bit palette": with_config(palette, cto.OpPalettizerConfig(mode="uniform", nbits=6)),
        "2-bit palette": with_config(palette, cto.OpPalettizerConfig(mode="uniform", nbits=2)),
        "sparse": with_config(prune, cto.OpMagnitudePrunerConfig(target_sparsity=0.6)),
    }
    if version >= 9:
        block = {"granularity": "per_block", "block_size": 8}
        group = {"granularity": "per_grouped_channel", "group_size": 8}
        found["int4 in blocks"] = with_config(
            linear, cto.OpLinearQuantizerConfig(dtype="int4", **block)
        )
        found["grouped palette"] = with_config(
            palette, cto.OpPalettizerConfig(mode="uniform", nbits=4, **group)
        )
        found["vector palette"] = with_config(
            palette, cto.OpPalettizerConfig(mode="kmeans", nbits=4, cluster_dim=2)
        )
    return found


def test_compressed_weights_equal_what_coremltools_decompresses(
    convolution: Any, tmp_path: Path
) -> None:
    import coremltools.optimize.coreml as cto

    from pocketportrait.runtime.mil.program import MilProgram

    def run(model: Any, name: str) -> Any:
        path = tmp_path / f"{name}.mlpackage"
        model.save(str(path))
        program = MilProgram(path)
        (value,) = program.run({"x": torch.from_numpy(X)}).values()
        return value.numpy(), set(program.operations)

    seen: set[str] = set()
    for name, compress in schemes(convolution.get_spec().specificationVersion).items():
        model = compress(convolution)
        got, operations = run(model, name)
        want, plain = run(cto.decompress_weights(model), name + " decompressed")
        assert plain == {"conv"}, name
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=name)
        seen |= operations
    assert len(seen) >= 4, seen  # conv, and a constexpr operation for each family


def test_jointly_compressed_weights(run_mil: Callable[..., list[Any]]) -> None:
    mask = (RNG.random((4, 6)) > 0.5).astype(np.uint8)
    kept = RNG.integers(0, 4, int(mask.sum())).astype(np.uint8)
    lut = RNG.standard_normal((2, 1, 4, 1)).astype(np.float32)
    steps = RNG.integers(-100, 100, int(mask.sum())).astype(np.int8)
    scale = np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1)

    def build(mb: Any, x: Any) -> list[Any]:
        from coremltools.converters.mil.mil import types

        bits, indices = mask.astype(types.np_uint1_dtype), kept.astype(types.np_uint2_dtype)
        palette = mb.constexpr_lut_to_sparse(
            indices_mask=bits, indices_nonzero_data=indices, lut=lut
        )
        linear = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=bits, nonzero_data=steps, scale=scale
        )
        return [
            mb.add(x=x, y=mb.constexpr_sparse_to_dense(nonzero_data=nonzero, mask=where))
            for where, nonzero in (palette, linear)
        ]

    want_palette, want_linear = np.zeros((4, 6), np.float32), np.zeros((4, 6), np.float32)
    rows = np.nonzero(mask)[0]
    want_palette[mask != 0] = lut[rows // 2, 0, kept, 0]
    want_linear[mask != 0] = steps * scale[rows, 0]
    got = run_mil(build, np.zeros((4, 6), np.float32), target="iOS18")
    np.testing.assert_allclose(got[0], want_palette, atol=1e-6)
    np.testing.assert_allclose(got[1], want_linear, atol=1e-5)


def test_activations_are_quantized_as_torch_does(run_mil: Callable[..., list[Any]]) -> None:
    scales = np.linspace(0.01, 0.04, 16, dtype=np.float32)

    def build(mb: Any, x: Any) -> list[Any]:
        whole = mb.quantize(
            input=x, scale=np.float32(0.02), zero_point=np.uint8(120), output_dtype="uint8"
        )
        channels = mb.quantize(input=x, scale=scales, axis=1, output_dtype="int8")
        return [
            mb.dequantize(input=whole, scale=np.float32(0.02), zero_point=np.uint8(120)),
            mb.dequantize(input=channels, scale=scales, axis=1),
        ]

    x = torch.from_numpy(X)
    want = [
        torch.fake_quantize_per_tensor_affine(x, 0.02, 120, 0, 255),
        torch.fake_quantize_per_channel_affine(
            x, torch.from_numpy(scales), torch.zeros(16), 1, -128, 127
        ),
    ]
    for ours, theirs in zip(run_mil(build, X), want, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)
