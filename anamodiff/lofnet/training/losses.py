"""LOFNet's training loss: latent reconstruction and equivariance of the key points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from anamodiff.lofnet.flow import invert_2x2
from anamodiff.lofnet.keypoints import KeyPoints
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.training.dataset import Pairs
from anamodiff.lofnet.training.options import TrainOptions
from anamodiff.warp import identity_grid, resize_flow, warp

_TINY = 1e-6
# The transform is smooth: it is evaluated at so many points a side and interpolated.
_GRID = 33


def latent_error(warped: Tensor, target: Tensor) -> Tensor:
    """Mean squared error (b,) of each pair of latents ``b c h w`` (paper, equation 1)."""
    return (warped.float() - target.float()).square().mean(dim=(1, 2, 3))


def motion_weights(identity: Tensor, balance: float) -> Tensor:
    """Weights (b,) of pairs from their identity errors (b,), the power -`balance` of these.

    The weighted identity errors have the same sum as the plain ones.
    """
    if balance == 0:
        return torch.ones_like(identity)
    # Still pairs teach nothing: without an offset they would weigh most.
    weights = (identity + 0.1 * identity.mean() + 1e-6) ** -balance
    return weights * identity.sum() / (weights * identity).sum().clamp_min(1e-9)


def crowding(points: KeyPoints, *, radius: float = 0.15) -> Tensor:
    """Mean overlap of key points: 1 if all coincide, 0 if all are several `radius` apart.

    A new detector puts all points in the middle of the body, where they are perfectly equivariant;
    the reconstruction loss alone would separate them slowly.
    """
    square = (points.value[:, :, None] - points.value[:, None]).square().sum(dim=-1)  # b k k
    count = square.shape[-1]
    overlap = torch.exp(-square / (2 * radius**2)).sum(dim=(1, 2)) - count
    return (overlap / (count * (count - 1))).mean()


@dataclass(frozen=True)
class PlaneTransform:
    """Smooth transforms of the plane, affine plus thin-plate spline (FOMM, section 3.1).

    Attributes:
        affine: ``b 2 3``.
        centres: control points of the spline, ``n 2``.
        bends: their weights, ``b n``, shared by x and y.
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
    ) -> PlaneTransform:
        """Random transforms near the identity, with a grid of `points` by `points` centres."""
        identity = torch.eye(2, 3)
        noise = torch.randn(batch, 2, 3, generator=generator)
        bends = torch.randn(batch, points * points, generator=generator)
        centres = rearrange(identity_grid(points, points), "h w xy -> (h w) xy")
        return cls(identity + sigma_affine * noise, centres, sigma_tps * bends)

    def to(self, device: torch.device | str) -> PlaneTransform:
        moved = (t.to(device) for t in (self.affine, self.centres, self.bends))
        return PlaneTransform(*moved)

    def __call__(self, points: Tensor) -> Tensor:
        """Transform points ``b n 2``."""
        linear = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        square = (points[:, :, None] - self.centres).square().sum(dim=-1)
        # r^2 log r as 0.5 r^2 log r^2, which is smooth at the centres.
        kernel = 0.5 * square * torch.log(square + _TINY)
        return linear + (kernel * self.bends[:, None]).sum(dim=-1, keepdim=True)

    def jacobian(self, points: Tensor) -> Tensor:
        """Derivative at points ``b n 2``: ``b n 2 2``, rows are output coordinates."""
        offset = points[:, :, None] - self.centres
        square = offset.square().sum(dim=-1)
        slope = torch.log(square + _TINY) + square / (square + _TINY)
        slope = (slope * self.bends[:, None])[..., None] * offset
        # x and y share their weights, so both rows have the same gradient.
        return self.affine[:, None, :, :2] + slope.sum(dim=2)[:, :, None, :]

    def frames(self, frames: Tensor) -> Tensor:
        """Deform frames ``b c h w`` by backward warping: `z` is sampled at ``self(z)``."""
        grid = identity_grid(_GRID, _GRID, device=frames.device)
        grid = rearrange(grid, "h w xy -> 1 (h w) xy").expand(frames.shape[0], -1, -1)
        flow = rearrange(self(grid), "b (h w) xy -> b h w xy", h=_GRID)
        # Border padding: black corners would show the detector where the frame ended.
        return warp(frames, resize_flow(flow, *frames.shape[-2:]))


def equivariance_errors(
    points: KeyPoints, deformed: KeyPoints, transform: PlaneTransform
) -> tuple[Tensor, Tensor]:
    """Mean absolute equivariance errors of points and Jacobians (FOMM, section 3.1).

    Both are zero where ``points = transform(deformed)`` and ``J = transform.jacobian(deformed)
    J_deformed``.

    Args:
        points: of `b` frames.
        deformed: of ``transform.frames(frames)``.

    Returns:
        Two 0-d errors; that of the Jacobians is zero for a detector without them.
    """
    value = (points.value - transform(deformed.value)).abs().mean()
    if points.jacobian is None or deformed.jacobian is None:
        return value, torch.zeros_like(value)
    carried = transform.jacobian(deformed.value) @ deformed.jacobian
    ratio = invert_2x2(points.jacobian) @ carried
    identity = torch.eye(2, device=ratio.device, dtype=ratio.dtype)
    return value, (identity - ratio).abs().mean()


class LOFNetLoss(nn.Module):
    """Loss of a batch of pairs; a module, which data-parallel training needs.

    Args:
        model: the network in training.
        options: weights of the losses.
        frozen: whether the detector is not trained.
    """

    def __init__(self, model: LOFNet, options: TrainOptions, *, frozen: bool) -> None:
        super().__init__()
        self.model = model
        self.options = options
        self.frozen = frozen

    def forward(
        self, pairs: Pairs, transform: PlaneTransform, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its terms, all 0-d; `generator` is that of the motions' dropout."""
        source, driving = pairs.latents.chunk(2)
        points, deformed = self._points(pairs.frames, transform)
        half = len(pairs)
        driving_points = points[half:]
        motion = self.model.flow(source, driving_points, points[:half], generator=generator)
        errors = latent_error(warp(source, motion.flow), driving)
        identity = latent_error(source, driving)
        loss = (errors * motion_weights(identity, self.options.balance)).mean()
        figures = {"error": errors.mean(), "identity": identity.mean()}
        if deformed is not None:
            value, jacobian = equivariance_errors(driving_points, deformed, transform)
            loss = loss + self.options.equivariance * (value + jacobian)
            crowd = crowding(driving_points)
            loss = loss + self.options.separation * crowd
            figures |= {"equivariance_value": value, "equivariance_jacobian": jacobian}
            figures |= {"crowding": crowd}
        return loss, figures

    def _points(
        self, frames: Tensor, transform: PlaneTransform
    ) -> tuple[KeyPoints, KeyPoints | None]:
        """Points of all frames, and of the deformed driving frames for the equivariance loss."""
        if self.frozen or self.options.equivariance == 0:
            return self.model.points(frames), None
        deformed = transform.frames(frames.chunk(2)[1])
        # One pass: batch norm takes its statistics over plain and deformed frames together.
        points = self.model.points(torch.cat([frames, deformed]))
        return points[: len(frames)], points[len(frames) :]
