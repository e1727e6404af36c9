"""Reading heat maps: probabilities, means, peaks."""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from torch import Tensor

from anamodiff.warp import identity_grid

PEAK_RADIUS = 5  # cells around the highest one that a joint's place is the mean of


def probabilities(heat: Tensor) -> Tensor:
    """Softmax over the places of each map ``b j h w``."""
    return rearrange(heat, "b j h w -> b j (h w)").softmax(-1).view_as(heat)


def mean_place(share: Tensor) -> Tensor:
    """Mean places ``b j 2`` in [-1, 1] under maps ``b j h w`` that sum to one each."""
    grid = identity_grid(*share.shape[-2:], device=share.device, dtype=share.dtype)
    return einsum(share, grid, "b j h w, h w xy -> b j xy")


def peak_place(share: Tensor, radius: int = PEAK_RADIUS) -> Tensor:
    """Mean places ``b j 2`` under the cells within `radius` of each map's highest cell.

    Where a near and a far leg are taken for each other a map has two peaks, and its mean lies on
    neither.
    """
    cut = share * around(highest(share), share.shape[-2:], radius)
    return mean_place(cut / cut.sum((-2, -1), keepdim=True))


def highest(share: Tensor) -> Tensor:
    """Each map's highest cell as (column, row), ``b j 2``."""
    peak = share.flatten(2).argmax(-1)
    return torch.stack([peak % share.shape[-1], peak // share.shape[-1]], dim=-1)


def around(cells: Tensor, size: Sequence[int], radius: int) -> Tensor:
    """Whether each cell of maps ``b j h w`` is within `radius` of cells ``b j 2``."""
    rows = torch.arange(size[0], device=cells.device) - cells[..., 1:]
    columns = torch.arange(size[1], device=cells.device) - cells[..., :1]
    return (rows.abs() <= radius)[..., :, None] & (columns.abs() <= radius)[..., None, :]
