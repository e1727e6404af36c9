"""Moving driving points onto the source's shape."""

from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.adapt import (
    LARGEST_SCALE,
    adapt_points,
    hull_area,
    shape_scale,
    smooth_points,
)
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.point_motion import nearest_start
from anamodiff.options import AdaptationOptions, ScaleRule

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


@pytest.mark.parametrize("scale", get_args(ScaleRule))
@pytest.mark.parametrize(
    "shape",
    [
        torch.zeros(5, 2),
        torch.tensor([[0.0, 0.0], [0.5, 0.5], [0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]),
        torch.stack([torch.linspace(-0.5, 0.5, 5), torch.linspace(-0.1, 0.3, 5)], dim=-1),
        torch.stack([torch.linspace(-0.5, 0.5, 5), 1e-6 * torch.tensor([0.0, 1, 0, 1, 0])], dim=-1),
        1e-9 * SQUARE,
        SQUARE[:2],
        SQUARE[:1],
    ],
    ids=["one place", "two places", "a line", "a thin hull", "a speck", "two", "one"],
)
def test_degenerate_hulls_do_not_crash(shape: torch.Tensor, scale: str) -> None:
    flat, square = moving(shape), moving(SQUARE[: len(shape)])
    for driving, source in ((flat, square), (square, flat), (flat, flat)):
        adapted = adapt_points(driving, driving[0], source[0], scale=scale)
        assert adapted.value.isfinite().all() and adapted.jacobian.isfinite().all()
        assert_close(adapted.value[0], source.value[0])
        way, own = (points.value - points.value[:1] for points in (adapted, driving))
        assert way.abs().max() <= 2 * LARGEST_SCALE * own.abs().max()


def test_a_line_falls_back_to_its_length() -> None:
    line = torch.stack([torch.linspace(-0.5, 0.5, 5), torch.zeros(5)], dim=-1)
    assert shape_scale(2 * line, line) == pytest.approx(2)
    assert shape_scale(SQUARE, torch.zeros(5, 2)) == 1
    # A hull of rounding errors is no hull: the root of 1 / 1e-9 would throw points away.
    nearly = line + 1e-9 * torch.arange(10.0).reshape(5, 2) ** 2
    assert 0.2 < shape_scale(SQUARE, nearly) < 5


def test_scales_are_clamped() -> None:
    assert shape_scale(SQUARE, 0.01 * SQUARE) == LARGEST_SCALE
    assert shape_scale(0.01 * SQUARE, SQUARE) == 1 / LARGEST_SCALE


def test_axes_scale_each_axis_and_stretch_jacobians_alike() -> None:
    driving = moving(SQUARE)
    stretch = torch.tensor([2.0, 0.5])
    source = KeyPoints(stretch * SQUARE[None] + 0.1, torch.eye(2).expand(1, 5, 2, 2))
    adapted = adapt_points(driving, driving[0], source, scale="axes")
    moved = driving.value - driving.value[:1]
    assert_close(adapted.value - source.value, stretch * moved)
    # What turned a disc on the driving body turns the stretched disc on the stretched body.
    change = driving.jacobian @ torch.linalg.inv(driving.jacobian[:1])
    wanted = torch.diag(stretch) @ change @ torch.diag(1 / stretch)
    assert_close(adapted.jacobian, wanted, atol=1e-4, rtol=1e-4)


def test_parts_swing_as_far_as_they_are_large_and_share_the_body_s_way() -> None:
    small = 0.1 * torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    left, right = torch.tensor([-0.6, 0.0]), torch.tensor([0.6, 0.0])
    body, other = (
        torch.cat([small + left, small + right]),
        torch.cat([2 * small + left, small + right]),
    )
    swing = torch.zeros(2, 8, 2)
    swing[1, :, 1] = 0.1 * torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1])
    driving = KeyPoints(body + swing)
    source = KeyPoints(other[None])
    adapted = adapt_points(driving, driving[0], source, scale="parts")
    ways = (adapted.value - source.value)[1, :, 1].abs()
    assert ways[:4].min() > 1.2 * ways[4:].max()
    shifted = KeyPoints(driving.value[:1] + torch.tensor([[[0.0, 0]], [[0.1, 0.2]]]))
    way = adapt_points(shifted, shifted[0], source, scale="parts").value - source.value
    scale = shape_scale(other, body)
    assert_close(way[1], torch.tensor([0.1, 0.2]).expand(8, 2) * scale)


def test_flat_jacobians_stay_finite() -> None:
    driving = moving(SQUARE)
    driving.jacobian[0] = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    assert adapt_points(driving, driving[0], driving[1]).jacobian.isfinite().all()


def test_without_jacobians_and_unknown_scale() -> None:
    driving = KeyPoints(moving(SQUARE).value)
    assert adapt_points(driving, driving[0], driving[0]).jacobian is None
    for scale in get_args(ScaleRule):
        adapted = adapt_points(driving, driving[0], driving[0], scale=scale)
        assert_close(adapted.value, driving.value, atol=1e-5, rtol=1e-5)
    with pytest.raises(AnaMoDiffError, match="hull, none, axes, parts"):
        adapt_points(driving, driving[0], driving[0], scale="area")
    for smooth in (-1, 11, float("nan")):
        with pytest.raises(AnaMoDiffError, match="a number from 0 to 10"):
            AdaptationOptions(smooth=smooth)


@pytest.mark.parametrize("frames", [0.3, 1.0, 10.0])
def test_smoothing_takes_out_jitter_without_delay(frames: float) -> None:
    time = torch.arange(12.0)
    jitter = 0.1 * (-1) ** time
    walk = KeyPoints((0.05 * time)[:, None, None].expand(-1, 4, 2), moving(SQUARE[:4], 12).jacobian)
    # Uniform motion stays, and so do the ends; smoothing backwards in time is the same.
    assert_close(smooth_points(walk, frames).value, walk.value, atol=1e-5, rtol=1e-5)
    shaken = KeyPoints(walk.value + jitter[:, None, None], walk.jacobian)
    smooth = smooth_points(shaken, frames)
    assert_close(smooth.value[[0, -1]], shaken.value[[0, -1]], atol=1e-5, rtol=1e-5)
    backwards = smooth_points(KeyPoints(shaken.value.flip(0), shaken.jacobian.flip(0)), frames)
    assert_close(backwards.value.flip(0), smooth.value, atol=1e-5, rtol=1e-5)
    assert_close(backwards.jacobian.flip(0), smooth.jacobian, atol=1e-5, rtol=1e-5)
    left = (smooth.value - walk.value)[5:7].abs().max()
    assert left < (0.1 if frames < 1 else 0.02)
    assert smooth_points(shaken, 0) is shaken
    assert smooth_points(KeyPoints(walk.value), frames).jacobian is None
    assert_close(smooth_points(shaken[:2], frames).value, shaken.value[:2])


class WithoutDoubles(torch.Tensor):
    """Stands for a tensor on Apple's MPS, which has no 64-bit floating-point numbers."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):  # noqa: ANN206
        result = super().__torch_function__(function, types, args, kwargs or {})
        if function in (torch.Tensor.cpu, torch.Tensor.numpy):
            return torch.as_tensor(result).as_subclass(torch.Tensor)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


def test_nothing_is_a_double_on_apples_gpus() -> None:
    driving = moving(SQUARE, 4)
    apples = KeyPoints(
        *(part.as_subclass(WithoutDoubles) for part in (driving.value, driving.jacobian))
    )
    with pytest.raises(TypeError, match="MPS"):
        apples.value.double()
    for scale in get_args(ScaleRule):
        adapted = adapt_points(apples, apples[0], apples[1], scale=scale)
        plain = adapt_points(driving, driving[0], driving[1], scale=scale)
        assert_close(adapted.value.cpu(), plain.value)
    assert_close(smooth_points(apples, 1.0).value.cpu(), smooth_points(driving, 1.0).value)
    frame = nearest_start(apples, apples[2])
    assert frame == nearest_start(driving, driving[2])
