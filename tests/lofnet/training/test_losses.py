"""The training losses: a detector that follows a deformation costs nothing, another does."""

import torch
from torch.testing import assert_close

from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.training.losses import (
    PlaneTransform,
    crowding,
    equivariance_errors,
    latent_error,
    motion_weights,
)


def bent(seed: int = 0, batch: int = 3) -> PlaneTransform:
    generator = torch.Generator().manual_seed(seed)
    return PlaneTransform.random(batch, generator=generator, sigma_affine=0.1, sigma_tps=0.05)


def test_latent_error_is_one_number_a_pair() -> None:
    target = torch.zeros(2, 4, 3, 3)
    warped = torch.stack([torch.full((4, 3, 3), 1.0), torch.full((4, 3, 3), 3.0)])
    assert_close(latent_error(warped, target), torch.tensor([1.0, 9.0]))


def test_jacobian_is_the_derivative_of_the_map() -> None:
    transform = bent(batch=1)
    points = torch.rand(1, 6, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    derivative = transform.jacobian(points)
    for index in range(6):
        exact = torch.autograd.functional.jacobian(
            lambda place: transform(place[None, None])[0, 0], points[0, index]
        )
        assert_close(derivative[0, index], exact, atol=1e-4, rtol=1e-4)


def test_equivariant_detector_costs_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    transform = bent()
    deformed = KeyPoints(
        torch.rand(3, 5, 2, generator=generator) - 0.5,
        torch.eye(2) + 0.2 * torch.randn(3, 5, 2, 2, generator=generator),
    )
    points = KeyPoints(
        transform(deformed.value), transform.jacobian(deformed.value) @ deformed.jacobian
    )
    value, jacobian = equivariance_errors(points, deformed, transform)
    assert value < 1e-6 and jacobian < 1e-5
    value, jacobian = equivariance_errors(deformed, deformed, transform)
    assert value > 0.01 and jacobian > 0.01
    _, none = equivariance_errors(KeyPoints(points.value), KeyPoints(deformed.value), transform)
    assert none == 0


def test_deformed_frame_shows_what_was_at_the_mapped_place() -> None:
    transform = bent(3, batch=1)
    size = 65
    frame = torch.zeros(1, 3, size, size)
    deformed_at = torch.tensor([[[0.2, -0.3]]])
    x, y = ((transform(deformed_at)[0, 0] + 1) / 2 * (size - 1)).tolist()
    columns, rows = torch.arange(size), torch.arange(size)[:, None]
    frame[:] = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    shown = transform.frames(frame)[0, 0]
    row, column = divmod(int(shown.argmax()), size)
    found = torch.tensor([column, row]) / (size - 1) * 2 - 1
    assert (found - deformed_at[0, 0]).abs().max() <= 2 / (size - 1)


def test_deformed_frames_keep_their_ground() -> None:
    assert_close(bent().frames(torch.ones(3, 3, 16, 16)), torch.ones(3, 3, 16, 16))


def test_motion_weights_sum_alike_and_lift_small_motions() -> None:
    identity = torch.tensor([0.0, 0.1, 1.0])
    assert_close(motion_weights(identity, 0), torch.ones(3))
    weights = motion_weights(identity, 0.5)
    assert weights[1] > weights[2]
    assert_close((weights * identity).sum(), identity.sum())


def test_crowding_is_one_for_one_place_and_none_for_distant_points() -> None:
    assert_close(crowding(KeyPoints(torch.full((2, 4, 2), 0.3))), torch.tensor(1.0))
    corners = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1]]])
    assert crowding(KeyPoints(corners)) < 1e-6
    assert 0.1 < crowding(KeyPoints(0.1 * corners)) < 0.9
