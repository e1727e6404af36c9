"""Moving driving points onto the source's shape."""

import pytest
import torch
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet import KeyPoints, adapt_points, hull_area
from anamodiff.lofnet.adapt import shape_scale

SQUARE = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0.1, 0.0]])


def moving(shape: torch.Tensor, frames: int = 4) -> KeyPoints:
    """Points that walk and turn, with Jacobians that turn alike."""
    generator = torch.Generator().manual_seed(0)
    steps = 0.1 * torch.randn(frames, *shape.shape, generator=generator)
    steps[0] = 0
    jacobian = torch.eye(2) + 0.2 * torch.randn(frames, len(shape), 2, 2, generator=generator)
    return KeyPoints(shape + steps, jacobian)


def test_hull_area() -> None:
    assert hull_area(SQUARE) == pytest.approx(1.0)
    assert hull_area(torch.tensor([[0.0, 0], [1, 0], [0, 1]])) == pytest.approx(0.5)
    assert hull_area(torch.tensor([[0.0, 0], [1, 1], [2, 2], [3, 3]])) == 0
    assert hull_area(torch.zeros(5, 2)) == 0


def test_same_points_keep_the_motion() -> None:
    driving = moving(SQUARE)
    adapted = adapt_points(driving, driving[0], driving[0])
    assert_close(adapted.value, driving.value)
    assert_close(adapted.jacobian, driving.jacobian, atol=1e-5, rtol=1e-5)


def test_motion_grows_with_the_shape_and_starts_at_the_source() -> None:
    driving = moving(SQUARE)
    source = KeyPoints(0.5 * SQUARE[None] + 0.3, 2 * driving.jacobian[:1])
    adapted = adapt_points(driving, driving[0], source)
    assert_close(adapted.value[0], source.value[0])
    assert_close(adapted.jacobian[:1], source.jacobian, atol=1e-5, rtol=1e-5)
    moved = driving.value - driving.value[:1]
    assert_close(adapted.value - source.value, 0.5 * moved)
    unscaled = adapt_points(driving, driving[0], source, scale="none")
    assert_close(unscaled.value - source.value, moved)
    assert_close(unscaled.jacobian, adapted.jacobian)  # the paper scales no Jacobian


@pytest.mark.parametrize(
    "shape",
    [
        torch.zeros(5, 2),
        torch.tensor([[0.0, 0.0], [0.5, 0.5], [0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]),
        torch.stack([torch.linspace(-0.5, 0.5, 5), torch.linspace(-0.1, 0.3, 5)], dim=-1),
    ],
    ids=["one place", "two places", "a line"],
)
def test_degenerate_hulls_do_not_crash(shape: torch.Tensor) -> None:
    flat, square = moving(shape), moving(SQUARE)
    for driving, source in ((flat, square), (square, flat), (flat, flat)):
        adapted = adapt_points(driving, driving[0], source[0])
        assert adapted.value.isfinite().all()
        assert_close(adapted.value[0], source.value[0])
        assert (adapted.value - source.value[:1]).abs().max() < 2  # within a frame's width


def test_a_line_falls_back_to_its_length() -> None:
    line = torch.stack([torch.linspace(-0.5, 0.5, 5), torch.zeros(5)], dim=-1)
    assert shape_scale(2 * line, line) == pytest.approx(2)
    assert shape_scale(SQUARE, torch.zeros(5, 2)) == 1
    # A hull of rounding errors is no hull: the root of 1 / 1e-9 would throw points away.
    nearly = line + 1e-9 * torch.arange(10.0).reshape(5, 2) ** 2
    assert 0.2 < shape_scale(SQUARE, nearly) < 5


def test_flat_jacobians_stay_finite() -> None:
    driving = moving(SQUARE)
    driving.jacobian[0] = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert adapt_points(driving, driving[0], driving[1]).jacobian.isfinite().all()


def test_without_jacobians_and_unknown_scale() -> None:
    driving = KeyPoints(moving(SQUARE).value)
    assert adapt_points(driving, driving[0], driving[0]).jacobian is None
    with pytest.raises(AnaMoDiffError, match="hull or none"):
        adapt_points(driving, driving[0], driving[0], scale="area")
