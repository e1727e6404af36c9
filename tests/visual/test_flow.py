"""Pictures of flows: what they show, by the pixel."""

import pytest
import torch
from torch.testing import assert_close

from anamodiff.visual.flow import (
    colour_wheel,
    draw_key_points,
    flow_picture,
    flow_strength,
    grid_picture,
    mask_picture,
)
from anamodiff.visual.sheets import draw_points, enlarge, point_colours
from anamodiff.warp import identity_grid

WHITE = torch.ones(1, 3, 128, 128)
POINT = torch.zeros(1, 1, 2)


def dark(frames: torch.Tensor) -> tuple[int, int]:
    """Width and height of what is not white."""
    drawn = (frames < 0.5).any(dim=1)[0]
    return int(drawn.any(dim=0).sum()), int(drawn.any(dim=1).sum())


def test_ellipses_have_the_jacobian_s_shape() -> None:
    wide = torch.tensor([[[[2.0, 0.0], [0.0, 1.0]]]])
    width, height = dark(draw_key_points(WHITE, POINT, wide))
    assert width == pytest.approx(2 * height, rel=0.25)
    # All share one scale: a detector's Jacobians are right up to a factor.
    assert_close(draw_key_points(WHITE, POINT, 30 * wide), draw_key_points(WHITE, POINT, wide))
    tall = draw_key_points(WHITE, POINT, wide.mT.flip(-1, -2))
    assert dark(tall)[1] == pytest.approx(2 * dark(tall)[0], rel=0.25)


def test_points_without_jacobians_are_discs() -> None:
    assert_close(draw_key_points(WHITE, POINT), draw_points(WHITE, POINT))
    broken = torch.full((1, 1, 2, 2), float("nan"))
    assert_close(draw_key_points(WHITE, POINT, broken), draw_points(WHITE, POINT))


def test_flow_colours_say_where_things_move() -> None:
    still = identity_grid(16, 16)[None]
    assert_close(flow_picture(still), torch.ones(1, 3, 16, 16))
    moved = torch.cat([still, still - torch.tensor([0.2, 0.0]), still - torch.tensor([0.1, 0.0])])
    picture = flow_picture(moved)
    # Looking up further left moves things right, which is red on the wheel.
    assert_close(picture[1, :, 8, 8], torch.tensor([1.0, -1.0, -1.0]), atol=1e-3, rtol=0)
    assert_close(picture[2, :, 8, 8], torch.tensor([1.0, 0.0, 0.0]), atol=1e-2, rtol=0)
    assert_close(colour_wheel(101)[0, :, 50, 94], picture[1, :, 8, 8], atol=0.1, rtol=0)
    assert flow_strength(moved, 128) == pytest.approx(0.2 * 127 / 2)


def test_grids_are_warped_and_the_outside_is_grey() -> None:
    grid = identity_grid(8, 8)[None]
    straight, shifted = grid_picture(torch.cat([grid, grid + torch.tensor([1.0, 0.0])]), 129)
    assert_close(shifted[:, :, :60], straight[:, :, 64:124], atol=1e-3, rtol=0)
    assert shifted[:, :, 70:].abs().max() < 1e-4
    assert straight.min() < -0.5 and straight.max() > 0.99


def test_masks_show_each_point_s_colour() -> None:
    mask = torch.zeros(1, 4, 2, 2)
    mask[0, 0, 0, 0] = mask[0, 2, 0, 1] = 1
    mask[0, 1:3, 1, 0] = 0.5
    red, blue, _ = (torch.tensor(colour) / 127.5 - 1 for colour in point_colours(3))
    picture = mask_picture(mask)[0]
    assert_close(picture[:, 0, 1], blue)
    assert_close(picture[:, 1, 0], (red + blue) / 2)
    assert (picture[:, 0, 0] == picture[0, 0, 0]).all(), "the ground is grey"


def test_small_frames_are_enlarged() -> None:
    assert enlarge(WHITE, 200).shape == (1, 3, 200, 200)
    assert enlarge(WHITE, 100) is WHITE
