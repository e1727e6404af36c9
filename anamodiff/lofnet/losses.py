"""What LOFNet is trained with: latent reconstruction and equivariance of the key points."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.lofnet.flow import invert_2x2
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.warp import identity_grid, resize_flow, warp


def latent_error(warped: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of latents ``b c h w`` for each pair: ``b`` (paper, equation 1)."""
    return (warped.float() - target.float()).square().mean(dim=(1, 2, 3))


_TINY = 1e-6
# The map is smooth: frames are deformed by its values on so many places a side, interpolated.
_LATTICE = 33


def crowding(points: KeyPoints, *, radius: float = 0.15) -> Tensor:
    """How much key points sit on one another: 1 if all do, 0 if all are several `radius` apart.

    A new detector puts all points in the middle of the body, where they are perfectly
    equivariant; from there only the reconstruction, slowly, would pull them apart.
    """
    square = (points.value[:, :, None] - points.value[:, None]).square().sum(dim=-1)  # b k k
    count = square.shape[-1]
    overlap = torch.exp(-square / (2 * radius**2)).sum(dim=(1, 2)) - count
    return (overlap / (count * (count - 1))).mean()


@dataclass(frozen=True)
class PlaneTransform:
    """A smooth map of the plane for each batch entry: affine plus a thin-plate spline.

    Attributes:
        affine: ``b 2 3``.
        centres: ``n 2``, where the spline bends.
        bends: ``b n``, how much it bends there, the same for x and y (FOMM, section 3.1).
    """

    affine: Tensor
    centres: Tensor
    bends: Tensor

    @classmethod
    def random(
        cls,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        sigma_affine: float = 0.05,
        sigma_tps: float = 0.005,
        points: int = 5,
    ) -> "PlaneTransform":
        """Draw transforms near the identity, bending on a grid of `points` by `points`."""
        identity = torch.eye(2, 3)
        noise = torch.randn(batch, 2, 3, generator=generator)
        bends = torch.randn(batch, points * points, generator=generator)
        centres = rearrange(identity_grid(points, points), "h w xy -> (h w) xy")
        return cls(identity + sigma_affine * noise, centres, sigma_tps * bends)

    def to(self, device: torch.device | str) -> "PlaneTransform":
        """Move all three tensors."""
        moved = (t.to(device) for t in (self.affine, self.centres, self.bends))
        return PlaneTransform(*moved)

    def __call__(self, points: Tensor) -> Tensor:
        """Map points ``b n 2``."""
        linear = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        square = (points[:, :, None] - self.centres).square().sum(dim=-1)
        # r^2 log r, written with r^2 to stay smooth at the centres.
        kernel = 0.5 * square * torch.log(square + _TINY)
        return linear + (kernel * self.bends[:, None]).sum(dim=-1, keepdim=True)

    def jacobian(self, points: Tensor) -> Tensor:
        """Give the derivative at points ``b n 2``: ``b n 2 2``, row the output coordinate."""
        offset = points[:, :, None] - self.centres
        square = offset.square().sum(dim=-1)
        slope = torch.log(square + _TINY) + square / (square + _TINY)
        slope = (slope * self.bends[:, None])[..., None] * offset
        # Both coordinates bend alike, so both rows of the derivative get the same gradient.
        return self.affine[:, None, :, :2] + slope.sum(dim=2)[:, :, None, :]

    def frames(self, frames: Tensor) -> Tensor:
        """Deform frames ``b c h w``: the result shows at `z` what was at ``self(z)``."""
        grid = identity_grid(_LATTICE, _LATTICE, device=frames.device)
        grid = rearrange(grid, "h w xy -> 1 (h w) xy").expand(frames.shape[0], -1, -1)
        flow = rearrange(self(grid), "b (h w) xy -> b h w xy", h=_LATTICE)
        # The ground goes on at the border: black corners would tell where the frame ended.
        return warp(frames, resize_flow(flow, *frames.shape[-2:]))


def equivariance_errors(
    points: KeyPoints, deformed: KeyPoints, transform: PlaneTransform
) -> tuple[Tensor, Tensor]:
    """How far a detector is from following a known deformation (FOMM, section 3.1).

    Args:
        points: found on frames, `b` of them.
        deformed: found on ``transform.frames(frames)``.

    Returns:
        Mean absolute errors of the points and of the Jacobians (zero without Jacobians); a
        detector that follows exactly has ``points = transform(deformed)`` and
        ``J = transform.jacobian(deformed) J_deformed``.
    """
    value = (points.value - transform(deformed.value)).abs().mean()
    if points.jacobian is None or deformed.jacobian is None:
        return value, torch.zeros_like(value)
    carried = transform.jacobian(deformed.value) @ deformed.jacobian
    ratio = invert_2x2(points.jacobian) @ carried
    identity = torch.eye(2, device=ratio.device, dtype=ratio.dtype)
    return value, (identity - ratio).abs().mean()
