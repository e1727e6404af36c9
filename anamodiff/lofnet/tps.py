"""Motion by thin-plate splines: five points bend a part of the picture together.

After TPS Motion (Zhao and Zhang, "Thin-Plate Spline Motion Model for Image Animation", CVPR 2022,
section 3.1): of each group of five key points, the spline that takes the driving points to the
source's is one motion, where FOMM has one affine motion round every point.
"""

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.lofnet.flow import DenseMotion
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.warp import identity_grid

POINTS = 5

# TPS Motion adds this to the whole diagonal of the system; it smooths the spline a little.
_RIDGE = 0.01
# Points near a line can make that system nearly singular, for the ridge has the wrong sign in its
# affine rows. No eigenvalue acts as one below twice this; usual ones (0.1 to 5) hardly change.
_SMALLEST = 1e-3
_TINY = 1e-9


def fit_splines(driving: Tensor, target: Tensor) -> Tensor:
    """Find the thin-plate splines that take points to values (TPS Motion, equations 1 to 3).

    Args:
        driving: ``... n 2``, where each spline bends.
        target: ``... n d``, its values there, met but for the ridge.

    Returns:
        Coefficients ``... n+3 d``: of the bends, of x and y, and of the constant.
    """
    count = driving.shape[-2]
    places = torch.cat([driving, torch.ones_like(driving[..., :1])], dim=-1)  # ... n 3
    corner = driving.new_zeros(*driving.shape[:-2], 3, 3)
    system = torch.cat([
        torch.cat([_bends(driving, driving), places], dim=-1),
        torch.cat([places.mT, corner], dim=-1),
    ], dim=-2)  # fmt: skip
    identity = torch.eye(count + 3, device=driving.device, dtype=driving.dtype)
    system = system + _RIDGE * identity
    values = torch.cat([target, target.new_zeros(*target.shape[:-2], 3, target.shape[-1])], dim=-2)
    return _solve(system, values)


def evaluate_splines(coefficients: Tensor, driving: Tensor, places: Tensor) -> Tensor:
    """Values ``... m d`` of splines bending at points ``... n 2``, at places ``m 2``."""
    bends = _bends(places, driving)  # ... m n
    linear = torch.cat([places, torch.ones_like(places[..., :1])], dim=-1)
    terms = torch.cat([bends, linear.expand(*bends.shape[:-1], 3)], dim=-1)
    return terms @ coefficients


def spline_motions(driving: Tensor, source: Tensor, height: int, width: int) -> Tensor:
    """Backward flows of the splines from driving to source points, as TPS Motion has them.

    Args:
        driving, source: ``b k n 2``, `k` groups of `n` points (five in TPS Motion).

    Returns:
        ``b k h w 2``: where in the source every place is looked up.
    """
    grid = identity_grid(height, width, device=driving.device, dtype=driving.dtype)
    places = rearrange(grid, "h w xy -> (h w) xy")
    flows = evaluate_splines(fit_splines(driving, source), driving, places)
    return rearrange(flows, "b k (h w) xy -> b k h w xy", h=height)


class SplineMotion(DenseMotion):
    """Choose, at every latent cell, which group's thin-plate spline to follow.

    `num_kp` counts all points, five a group, so that one more than a fifth of it are the motions
    (the background's first); the other arguments are `DenseMotion`'s.
    """

    motion = "tps"
    points_per_motion = POINTS

    def local_motions(
        self, driving: KeyPoints, source: KeyPoints, height: int, width: int
    ) -> Tensor:
        """The identity and each group's spline: ``b k/5+1 h w 2``."""
        groups = [rearrange(p.value, "b (k n) xy -> b k n xy", n=POINTS) for p in (driving, source)]
        # The ridge bends even a motion from points to themselves, by up to a tenth of the frame's
        # half width. A spline is linear in its values: of the offsets, none gives none.
        offsets = spline_motions(groups[0], groups[1] - groups[0], height, width)
        grid = identity_grid(height, width, device=offsets.device, dtype=offsets.dtype)
        background = grid.expand(offsets.shape[0], 1, -1, -1, -1)
        return torch.cat([background, grid + offsets], dim=1)

    def arrange(self, bumps: Tensor, warped: Tensor) -> Tensor:
        """All bumps first, then the latents, as TPS Motion has them."""
        return torch.cat([bumps, rearrange(warped, "b k c h w -> b (k c) h w")], dim=1)


def _bends(places: Tensor, centres: Tensor) -> Tensor:
    """The kernel r^2 log r^2 between places ``... m 2`` and centres ``... n 2``: ``... m n``."""
    places = rearrange(places, "... m xy -> ... m 1 xy")
    square = (places - rearrange(centres, "... n xy -> ... 1 n xy")).square().sum(dim=-1)
    return square * torch.log(square + _TINY)


def _solve(system: Tensor, values: Tensor) -> Tensor:
    """Solve symmetric systems ``... m m`` for ``... m d``, bounded where one is nearly singular.

    With `e` for `_SMALLEST`, an eigenvalue `s` acts as ``s + e^2 / s``: ``(A A + e^2) x = A y``,
    which is the real part of ``(A + i e) x = y`` and keeps the precision that the square loses.
    """
    size = system.shape[-1]
    small = _SMALLEST * torch.eye(size, device=system.device, dtype=system.dtype)
    small = small.expand_as(system)
    doubled = torch.cat([torch.cat([system, -small], -1), torch.cat([small, system], -1)], -2)
    padded = torch.cat([values, torch.zeros_like(values)], dim=-2)
    return torch.linalg.solve(doubled, padded)[..., :size, :]
