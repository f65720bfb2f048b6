import pytest
import torch

from pocketportrait.models.warp import RowColumnWarp, warp_twin

SIDE = 16


@pytest.fixture
def warp() -> RowColumnWarp:
    return RowColumnWarp(SIDE).eval()


def random_map(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def random_fields(scale: float) -> torch.Tensor:
    return torch.randn(2, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * scale


@pytest.mark.parametrize("scale", [0.3, 3.0, 40.0])  # inside a pixel, across pixels, far outside
def test_exported_form_equals_its_training_twin(warp: RowColumnWarp, scale: float) -> None:
    f, fields = random_map(), random_fields(scale)
    torch.testing.assert_close(warp(f, fields), warp_twin(f, fields), atol=1e-5, rtol=0)


def test_training_mode_runs_the_twin(warp: RowColumnWarp) -> None:
    f, fields = random_map(), random_fields(2.0)
    assert torch.equal(warp.train()(f, fields), warp_twin(f, fields))


def test_no_displacement_returns_the_map(warp: RowColumnWarp) -> None:
    f = random_map()
    assert torch.equal(warp(f, torch.zeros(2, 2, SIDE, SIDE)), f)


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, -3), (1, 4)])
def test_whole_displacements_shift_and_repeat_the_border(
    warp: RowColumnWarp, dx: int, dy: int
) -> None:
    f = random_map()
    fields = torch.zeros(2, 2, SIDE, SIDE)
    fields[:, 0], fields[:, 1] = dx, dy
    place = torch.arange(SIDE)
    rows, columns = (place + dy).clamp(0, SIDE - 1), (place + dx).clamp(0, SIDE - 1)
    torch.testing.assert_close(warp(f, fields), f[:, :, rows][:, :, :, columns], atol=1e-6, rtol=0)


def test_column_pass_reads_dx_where_it_lands(warp: RowColumnWarp) -> None:
    """The meaning that mesh supervision relies on: out(y, x) = f(y', x + dx(y', x)), y' = y + dy(y, x)."""
    f, fields = random_map(1), torch.zeros(2, 2, SIDE, SIDE)
    fields[:, 1, 5, 7] = 3  # the pixel (5, 7) reads row 8
    fields[:, 0, 8, 7] = -2  # and row 8 was shifted there by -2
    torch.testing.assert_close(warp(f, fields)[:, 0, 5, 7], f[:, 0, 8, 5])


def test_fields_learn_through_both_forms(warp: RowColumnWarp) -> None:
    grads = []
    for mode in (True, False):
        fields = random_fields(1.0).requires_grad_()
        warp.train(mode)(random_map(), fields).square().sum().backward()
        assert fields.grad is not None
        grads.append(fields.grad)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-3, rtol=1e-3)


def test_displacements_survive_float16(warp: RowColumnWarp) -> None:
    """Positions as float16 would be off by 1/32 pixel at 64; displacements keep 60 dB."""
    f, fields = random_map(), random_fields(2.0)
    exact, rounded = warp(f, fields), warp(f, fields.half().float())
    assert (exact - rounded).square().mean() < 1e-6
