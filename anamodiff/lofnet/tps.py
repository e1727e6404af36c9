"""Thin-plate splines through groups of five key points as local motions.

After TPS Motion (Zhao and Zhang, "Thin-Plate Spline Motion Model for Image Animation", CVPR 2022,
section 3.1): each group has one motion, the spline from its driving to its source points, where
FOMM has one affine motion around every point.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.lofnet.flow import DenseMotion
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.warp import identity_grid

POINTS = 5

# TPS Motion adds this to the whole diagonal of the system; it smooths the spline a little.
_RIDGE = 0.01
# Nearly collinear points can make that system nearly singular, for the ridge has the wrong sign in
# its affine rows. Effective eigenvalues are at least twice this; usual ones (0.1 to 5) hardly
# change.
_SMALLEST = 1e-3
_TINY = 1e-9


def fit_splines(driving: Tensor, target: Tensor) -> Tensor:
    """Fit thin-plate splines that map points to values (TPS Motion, equations 1 to 3).

    Args:
        driving: control points ``... n 2``.
        target: their values ``... n d``, met up to the ridge.

    Returns:
        Coefficients ``... n+3 d``: of the radial basis functions, of x and y, and the constant.
    """
    count = driving.shape[-2]
    places = torch.cat([driving, torch.ones_like(driving[..., :1])], dim=-1)  # ... n 3
    corner = driving.new_zeros(*driving.shape[:-2], 3, 3)
    system = torch.cat([
        torch.cat([_radial_basis(driving, driving), places], dim=-1),
        torch.cat([places.mT, corner], dim=-1),
    ], dim=-2)  # fmt: skip
    identity = torch.eye(count + 3, device=driving.device, dtype=driving.dtype)
    system = system + _RIDGE * identity
    values = torch.cat([target, target.new_zeros(*target.shape[:-2], 3, target.shape[-1])], dim=-2)
    return _solve(system, values)


def evaluate_splines(coefficients: Tensor, driving: Tensor, places: Tensor) -> Tensor:
    """Values ``... m d`` at places ``m 2`` of splines with control points ``... n 2``."""
    basis = _radial_basis(places, driving)  # ... m n
    linear = torch.cat([places, torch.ones_like(places[..., :1])], dim=-1)
    terms = torch.cat([basis, linear.expand(*basis.shape[:-1], 3)], dim=-1)
    return terms @ coefficients


def spline_motions(driving: Tensor, source: Tensor, height: int, width: int) -> Tensor:
    """Backward flows ``b k h w 2`` of the splines from driving to source points.

    Args:
        driving, source: ``b k n 2``, `k` groups of `n` points (five in TPS Motion).
    """
    grid = identity_grid(height, width, device=driving.device, dtype=driving.dtype)
    places = rearrange(grid, "h w xy -> (h w) xy")
    flows = evaluate_splines(fit_splines(driving, source), driving, places)
    return rearrange(flows, "b k (h w) xy -> b k h w xy", h=height)


class SplineMotion(DenseMotion):
    """Dense motion whose local motions are thin-plate splines.

    `num_kp` counts all points, five a group: it gives num_kp / 5 + 1 motions with the background.
    The other arguments are `DenseMotion`'s.
    """

    motion = "tps"
    points_per_motion = POINTS

    def local_motions(
        self, driving: KeyPoints, source: KeyPoints, height: int, width: int
    ) -> Tensor:
        """The identity and each group's spline: ``b k/5+1 h w 2``."""
        groups = [rearrange(p.value, "b (k n) xy -> b k n xy", n=POINTS) for p in (driving, source)]
        # The ridge would distort even the motion from points to themselves, by up to a tenth of the
        # frame's half width. Splines are linear in their values: zero offsets give zero.
        offsets = spline_motions(groups[0], groups[1] - groups[0], height, width)
        grid = identity_grid(height, width, device=offsets.device, dtype=offsets.dtype)
        background = grid.expand(offsets.shape[0], 1, -1, -1, -1)
        return torch.cat([background, grid + offsets], dim=1)

    def concatenate(self, heat_maps: Tensor, warped: Tensor) -> Tensor:
        """Channels in TPS Motion's order, all heat maps before the warped latents."""
        return torch.cat([heat_maps, rearrange(warped, "b k c h w -> b (k c) h w")], dim=1)


def _radial_basis(places: Tensor, centres: Tensor) -> Tensor:
    """Kernel r^2 log r^2 between places ``... m 2`` and centres ``... n 2``: ``... m n``."""
    places = rearrange(places, "... m xy -> ... m 1 xy")
    square = (places - rearrange(centres, "... n xy -> ... 1 n xy")).square().sum(dim=-1)
    return square * torch.log(square + _TINY)


def _solve(system: Tensor, values: Tensor) -> Tensor:
    """Solve symmetric systems ``... m m`` for ``... m d``, regularised where nearly singular.

    Tikhonov: ``(A A + e^2) x = A y`` with `e` for `_SMALLEST`, so that an eigenvalue `s` acts as
    ``s + e^2 / s``. Solved as the real part of ``(A + i e) x = y``, which keeps the precision that
    squaring would lose.
    """
    size = system.shape[-1]
    small = _SMALLEST * torch.eye(size, device=system.device, dtype=system.dtype)
    small = small.expand_as(system)
    doubled = torch.cat([torch.cat([system, -small], -1), torch.cat([small, system], -1)], -2)
    padded = torch.cat([values, torch.zeros_like(values)], dim=-2)
    # `solve` would wait for a GPU to say that the system, regularised, is not singular.
    return torch.linalg.solve_ex(doubled, padded).result[..., :size, :]
