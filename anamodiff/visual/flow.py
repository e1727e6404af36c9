"""Flows for people to look at: ellipses of Jacobians, colour wheels, warped grids, masks."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor

from anamodiff.video.letterbox import from_pixels, to_pixels
from anamodiff.visual.sheets import NOTEBOOK_CELL, draw_points, few, point_colours
from anamodiff.warp import identity_grid, resize_flow, warp

#: Half the mean diameter of a Jacobian's ellipse, as a share of the frame's side.
ELLIPSE = 0.06
GRID_LINES = 16
#: What `mask_picture` of a flow's masks, and `grey_picture` of visibility, show.
MASKS_TITLE = "masks: whose motion is followed where (grey: the ground's)"
SEEN_TITLE = "visibility: black is what the source does not show"
_RIM = (20, 20, 20)
_SUBPIXEL = 4  # binary digits of a place that OpenCV keeps
_BACKGROUND = (235, 235, 235)


def draw_key_points(frames: Tensor, points: Tensor, jacobians: Tensor | None = None) -> Tensor:
    """Draw key points, and round each the ellipse that its Jacobian makes of a circle.

    A line from the middle shows where the Jacobian turns the x axis. All ellipses of a clip share
    one scale, for a detector's Jacobians are right only up to a factor.

    Args:
        frames: ``f 3 h w`` in [-1, 1], or one for all.
        points: ``f k 2`` in [-1, 1], those of `draw_points`.
        jacobians: ``f k 2 2``, or None for discs alone.

    Returns:
        Frames with drawings, in [-1, 1].
    """
    dotted = draw_points(frames, points)
    if jacobians is None:
        return dotted
    height, width = frames.shape[-2:]
    jacobians = jacobians.detach().float().cpu()  # f k 2 2
    usual = jacobians.square().sum(dim=(-2, -1)).div(2).sqrt().median().clamp_min(1e-6)
    angle = torch.linspace(0, 2 * torch.pi, 33)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    # Starting in the middle draws the turned x axis along with the ellipse.
    outline = torch.cat([torch.zeros(1, 2), circle, circle[:1]])
    reach = 2 * ELLIPSE / usual * einsum(jacobians, outline, "f k i j, n j -> f k n i")
    places = points.detach().float().cpu()[:, :, None] + reach
    places = (places + 1) / 2 * torch.tensor([width - 1.0, height - 1.0])
    pictures = np.ascontiguousarray(to_pixels(dotted))
    for picture, rows in zip(pictures, places.numpy(), strict=True):
        for row, colour in zip(rows, point_colours(points.shape[1]), strict=True):
            if (np.abs(row) < 4 * max(height, width)).all():  # false for NaN
                _outline(picture, row, colour)
    return from_pixels(pictures)


def flow_strength(flow: Tensor, size: int) -> float:
    """How far a flow ``b h w 2`` moves things: a long way, in pixels of a frame `size` wide.

    It is the 99th percentile over places, for the last per cent is often torn.
    """
    return _long_way(_moved(flow)) * (size - 1) / 2


def flow_picture(flow: Tensor) -> Tensor:
    """Colour wheel of a flow: hue for where things move, white where they stand still.

    Args:
        flow: ``b h w 2``; its `flow_strength` and more get full colour.

    Returns:
        Frames ``b 3 h w`` in [-1, 1].
    """
    moved = _moved(flow)
    return _wheel_colours(moved / max(_long_way(moved), 1e-6))


def colour_wheel(size: int) -> Tensor:
    """Legend of `flow_picture`, a disc whose rim is full strength: ``1 3 size size``."""
    grid = 1.1 * identity_grid(size, size)[None]
    inside = grid.norm(dim=-1, keepdim=True) <= 1
    return _wheel_colours(torch.where(inside, grid, 0.0))


def grid_picture(flow: Tensor, size: int) -> Tensor:
    """Lines of a grid, warped by a flow ``b h w 2``: frames ``b 3 size size`` in [-1, 1].

    What the flow looks up outside the frame is grey.
    """
    place = torch.linspace(0, GRID_LINES, size)
    line = (place - place.round()).abs() < 1.5 * GRID_LINES / size  # about three pixels wide
    paper = torch.where(line[:, None] | line[None], -0.6, 1.0)
    fine = resize_flow(flow.detach().float().cpu(), size, size)
    return warp(paper.expand(1, 3, -1, -1), fine, padding_mode="zeros")


def flow_rows(flow: Tensor) -> list[tuple[str, Tensor]]:
    """Rows of a notebook's sheet for a flow ``b h w 2``: as colours, and as a warped grid."""
    flow = few(flow)
    cells = flow_strength(flow, flow.shape[2])
    return [
        (f"flow: hue is direction, full colour {cells:.1f} cells or more", flow_picture(flow)),
        ("grid, warped", grid_picture(flow, NOTEBOOK_CELL)),
    ]


def grey_picture(shares: Tensor) -> Tensor:
    """Shares ``f h w`` in [0, 1], such as mattes or visibility, as pictures ``f 3 h w``."""
    return shares[:, None].expand(-1, 3, -1, -1).float().cpu() * 2 - 1


def mask_picture(mask: Tensor) -> Tensor:
    """Masks ``b k+1 h w`` (the background's first) as one picture in the points' colours.

    Returns:
        Frames ``b 3 h w`` in [-1, 1]: at each place the mean colour, weighted by the masks.
    """
    colours = torch.tensor([_BACKGROUND, *point_colours(mask.shape[1] - 1)])
    mixed = einsum(mask.detach().float().cpu(), colours.float(), "b k h w, k rgb -> b rgb h w")
    return (mixed / 127.5 - 1).clamp(-1, 1)


def _moved(flow: Tensor) -> Tensor:
    """How far, and where to, a backward flow moves what it shows: ``b h w 2``."""
    flow = flow.detach().float().cpu()
    return identity_grid(*flow.shape[1:3]) - flow


def _long_way(moved: Tensor) -> float:
    return float(np.quantile(moved.norm(dim=-1).numpy(), 0.99))


def _wheel_colours(moved: Tensor) -> Tensor:
    """Vectors ``b h w 2`` of length 0 to 1 as colours ``b 3 h w`` in [-1, 1]."""
    hue = torch.rad2deg(torch.atan2(moved[..., 1], moved[..., 0])) % 360
    strength = moved.norm(dim=-1).clamp(max=1)
    hsv = torch.stack([hue, strength, torch.ones_like(hue)], dim=-1).numpy()
    rgb = np.stack([cv2.cvtColor(picture, cv2.COLOR_HSV2RGB) for picture in hsv])
    return rearrange(torch.from_numpy(rgb), "b h w rgb -> b rgb h w") * 2 - 1


def _outline(picture: np.ndarray, places: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a line through (x, y) places, with a dark rim."""
    corners = np.round(places * 2**_SUBPIXEL).astype(np.int32)
    thin = max(1, round(picture.shape[0] / 200))
    for paint, width in ((_RIM, thin + 2), (colour, thin)):
        cv2.polylines(picture, [corners], False, paint, width, cv2.LINE_AA, _SUBPIXEL)
