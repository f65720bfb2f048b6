import numpy as np
import pytest
import torch

from pocketportrait.distill.augment import (
    degrade,
    draw_place,
    draw_zoom,
    jitter_colour,
    place,
    placed_points,
    placed_pose,
    soften,
)
from pocketportrait.distill.labels import ClipLabels
from pocketportrait.distill.losses import (
    MOUTH,
    grid_loss,
    mesh_flow_loss,
    mesh_weight,
    pyramid_loss,
    region_weight,
    smoothness_loss,
    ssim_loss,
)
from pocketportrait.distill.smoothing import box_mean
from pocketportrait.distill.targets import (
    LabelHead,
    Targets,
    change_loss,
    independence_loss,
    mirrored_blendshapes,
    mirrored_pose,
    pose_change_loss,
    rotate,
)

SIDE = 32


def mesh(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 478, 2, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


def test_equal_pictures_cost_nothing() -> None:
    a, weight = torch.rand(2, 3, SIDE, SIDE), torch.ones(2, 1, SIDE, SIDE)
    assert pyramid_loss(a, a, weight) == 0
    assert ssim_loss(a, a, weight) == pytest.approx(0, abs=1e-5)


def test_a_pattern_of_four_pixels_costs_and_other_differences_hardly() -> None:
    face = torch.rand(1, 3, 128, 128)
    dots, lines = torch.zeros_like(face), torch.zeros_like(face)
    dots[..., 16:96:4, 16:96:4] = 0.3
    lines[..., 16:96:5, 16:96:5] = 0.3
    assert grid_loss(face, face) == 0
    assert grid_loss(face + 0.2, face) == pytest.approx(0, abs=1e-6)
    assert grid_loss(face + dots, face) > 5 * grid_loss(face + lines, face)


def test_a_change_read_right_costs_nothing_whatever_a_face_looks_like_at_rest() -> None:
    head, rest = LabelHead(8), torch.randn(2, 8)
    photo, target = torch.randn(2, 2, 8)
    with torch.no_grad():
        labels = head.blendshapes(torch.cat([photo, target])) + torch.cat([rest, rest]).sum(
            1, keepdim=True
        )
        assert change_loss(head, torch.cat([photo, target]), labels) < 1e-9
        assert change_loss(head, torch.cat([photo, photo]), labels) > 0.01


def test_degraded_pictures_stay_pictures_and_some_stay_sharp() -> None:
    x = torch.rand(16, 3, SIDE, SIDE)
    worse = degrade(x, torch.Generator().manual_seed(0))
    assert worse.min() >= 0
    assert worse.max() <= 1
    roughness = (worse[..., 1:] - worse[..., :-1]).abs().mean((1, 2, 3))
    assert roughness.max() > 0.3
    assert roughness.min() < 0.1


def test_errors_in_heavy_regions_cost_more() -> None:
    points = mesh()
    points[:, list(MOUTH)] = 0.5 + 0.1 * (torch.rand(len(MOUTH), 2) - 0.5)
    weight = region_weight(points, SIDE)
    assert weight.mean() == pytest.approx(1)
    target = torch.zeros(2, 3, SIDE, SIDE)
    mouth, corner = target.clone(), target.clone()
    mouth[..., 15:17, 15:17] = 1
    corner[..., 1:3, 1:3] = 1
    assert pyramid_loss(mouth, target, weight, 1) > 1.5 * pyramid_loss(corner, target, weight, 1)


def test_mesh_loss_is_zero_for_the_true_shift_and_counts_pixels_otherwise() -> None:
    target = mesh()
    photo = target + torch.tensor([2.0, -3.0]) / SIDE
    fields = torch.zeros(2, 2, SIDE, SIDE)
    fields[:, 0], fields[:, 1] = 2, -3
    weight = mesh_weight()
    assert mesh_flow_loss(fields, photo, target, weight) == pytest.approx(0, abs=1e-5)
    assert mesh_flow_loss(torch.zeros_like(fields), photo, target, weight) == pytest.approx(
        5, abs=1e-4
    )


def test_mesh_loss_reads_dx_at_the_row_of_the_photo() -> None:
    """Where the warp's column pass has landed (see test_models_warp)."""
    target = torch.full((1, 478, 2), 0.25)
    photo = torch.tensor([0.25, 0.75]).expand(1, 478, 2)
    fields = torch.zeros(1, 2, SIDE, SIDE)
    fields[:, 1] = 0.5 * SIDE
    fields[:, 0, : SIDE // 2] = 9  # rows of the target: must not be read
    assert mesh_flow_loss(fields, photo, target, mesh_weight()) == pytest.approx(0, abs=1e-4)


def test_constant_fields_are_smooth() -> None:
    assert smoothness_loss(torch.full((1, 2, 8, 8), 3.0)) == 0


def rng(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_colour_jitter_is_repeatable_and_stays_in_range() -> None:
    x = torch.rand(3, 3, SIDE, SIDE)
    one, two = jitter_colour(x, rng()), jitter_colour(x, rng())
    assert torch.equal(one, two)
    assert one.min() >= 0
    assert one.max() <= 1
    assert (one - x).abs().mean() > 0.01


def test_places_are_repeatable_and_the_unmoved_one_changes_nothing() -> None:
    x = torch.rand(3, 3, SIDE, SIDE)
    affine = draw_place(3, rng())
    assert torch.equal(affine, draw_place(3, rng()))
    assert (place(x, affine) - x).abs().mean() > 0.01
    unmoved = torch.eye(2, 3).expand(3, 2, 3)
    torch.testing.assert_close(place(x, unmoved), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7])
def test_means_over_windows_are_those_of_pooling(size: int) -> None:
    x = torch.rand(2, 3, 11, 13)
    torch.testing.assert_close(box_mean(x, size), torch.nn.functional.avg_pool2d(x, size, 1))


def test_softened_pictures_keep_their_size_and_lose_fine_grids() -> None:
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    torch.testing.assert_close(soften(grey), grey)
    for period in (2, 3, 4):
        grid = (torch.arange(SIDE) % period == 0).float().expand(1, 3, SIDE, SIDE)
        inside = soften(grid)[..., 4:-4, 4:-4]
        assert inside.std() < 0.01 * grid.std()


def test_zoom_moves_points_and_pose_with_the_picture() -> None:
    x = torch.zeros(8, 3, 128, 128)
    x[..., 60:69, 60:69] = 1  # centre at 64.5 / 128
    zoom = draw_zoom(8, rng(1))
    assert 2 <= (zoom[:, 0, 0] == 1).sum() <= 6
    points = placed_points(zoom, torch.full((8, 1, 2), 64.5 / 128))
    seen = place(x, zoom, "reflection")[:, 0]
    step = (torch.arange(128) + 0.5) / 128
    mass = seen.sum((1, 2))
    centre = torch.stack([(seen.sum(1) * step).sum(1), (seen.sum(2) * step).sum(1)], 1)
    torch.testing.assert_close(centre / mass[:, None], points[:, 0], atol=1e-3, rtol=0)
    corners = torch.tensor([[[60.0, 60.0], [69.0, 69.0]]]).repeat(8, 1, 1) / 128
    told = torch.tensor([[0.1, 0.2, 0.3, 0.0, 0.0, 0.0]]).repeat(8, 1)
    as_it_was = torch.eye(2, 3).repeat(8, 1, 1)
    was, becomes = (placed_pose(affine, corners, told) for affine in (as_it_was, zoom))
    torch.testing.assert_close(becomes[:, :3], was[:, :3])
    torch.testing.assert_close(becomes[:, 3:5] + 0.5, points[:, 0])
    torch.testing.assert_close(becomes[:, 5] - was[:, 5], (mass / 81).log() / 2, atol=0.06, rtol=0)


def labels_of(points: np.ndarray, roll: float = 0.0) -> ClipLabels:
    n = len(points)
    angles = np.tile(np.float32([0.1, 0.2, roll]), (n, 1))
    return ClipLabels(
        np.arange(n), points.astype(np.float32), np.zeros((n, 52), np.float32), angles
    )


def test_pose_follows_place_and_size() -> None:
    base = np.random.default_rng(0).normal(0.5, 0.1, (1, 478, 2))
    base += 0.5 - base.mean(1, keepdims=True)
    moved = np.concatenate([base, base + np.array([0.1, -0.05]), (base - 0.5) * 1.2 + 0.5])
    pose = Targets.of(labels_of(moved)).pose
    np.testing.assert_allclose(pose[:, :3], [[0.1, 0.2, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(pose[1, 3:5] - pose[0, 3:5], [0.1, -0.05], atol=1e-6)
    assert pose[2, 5] - pose[0, 5] == pytest.approx(np.log(1.2), abs=1e-5)


def test_placed_poses_are_those_of_the_moved_landmarks() -> None:
    points = rotate(np.random.default_rng(0).normal(0, 0.1, (3, 478, 2)), np.full(3, 0.2)) + 0.5
    before = Targets.of(labels_of(points, roll=0.2))
    affine = draw_place(3, rng())
    affine[:, 0] *= (affine[:, 1, :2].norm(dim=1) / affine[:, 0, :2].norm(dim=1))[:, None]
    affine[:, 0, :2] = affine[:, 1, [1, 0]] * torch.tensor([1.0, -1.0])  # no stretch, just a turn
    pose = placed_pose(affine, torch.from_numpy(points).float(), torch.from_numpy(before.pose))
    # `place` reads the input at affine(output): landmarks go the other way
    turn, shift = affine[:, :, :2].numpy(), affine[:, None, :, 2].numpy()
    moved = ((points * 2 - 1 - shift) @ np.linalg.inv(turn).transpose(0, 2, 1) + 1) / 2
    labels = labels_of(moved)
    labels.angles[:, 2] = pose[:, 2]
    after = Targets.of(labels)
    np.testing.assert_allclose(pose, after.pose, atol=1e-5)
    assert np.abs(after.pose - before.pose)[:, 2:].max(0).min() > 0.01
    np.testing.assert_allclose(after.shape, before.shape, atol=1e-3)  # so roll turned as much


def test_a_constant_error_of_pose_is_no_error_of_its_change() -> None:
    pose = torch.rand(8, 6)
    assert pose_change_loss(pose + 0.3, pose) < 1e-9
    assert pose_change_loss(pose.roll(1, 0), pose) > 0.01


def test_shape_holds_neither_place_nor_size_nor_roll_nor_identity() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.1, (1, 478, 2))
    smile = base.copy()
    smile[:, :40] += 0.03
    plain = Targets.of(labels_of(np.concatenate([base, smile]) + 0.5)).shape
    turned = rotate(np.concatenate([base, smile]), np.array([0.3, 0.3])) * 1.3 + 0.6
    again = Targets.of(labels_of(turned, roll=0.3)).shape
    np.testing.assert_allclose(plain, again, atol=1e-3)
    assert np.abs(plain).max() > 0.5


def test_mirroring_twice_is_nothing() -> None:
    scores, pose = np.random.default_rng(0).random(52), np.arange(6.0)
    assert np.array_equal(mirrored_blendshapes(mirrored_blendshapes(scores)), scores)
    assert np.array_equal(mirrored_pose(mirrored_pose(pose)), pose)
    assert mirrored_blendshapes(scores)[9] == scores[10]  # eyeBlinkLeft, eyeBlinkRight


def test_expression_that_repeats_the_pose_costs() -> None:
    rng = torch.Generator().manual_seed(0)
    pose, other = torch.randn(400, 6, generator=rng), torch.randn(400, 10, generator=rng)
    assert independence_loss(other, pose) < 0.01
    assert independence_loss(pose.repeat(1, 2), pose) > 0.15
    shrunk = float(independence_loss(pose.repeat(1, 2) * 1e-3, pose))
    assert shrunk == pytest.approx(float(independence_loss(pose.repeat(1, 2), pose)), rel=0.02)
