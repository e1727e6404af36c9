"""From key points of two frames to one dense flow on the latent grid (paper, section 3.2)."""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.keypoints import AntiAliasDownsample, KeyPoints
from anamodiff.warp import identity_grid, resize_flow, warp


@dataclass(frozen=True)
class Motion:
    """A dense motion.

    Attributes:
        flow: ``b h w 2``, where in the source every place of the result is looked up.
        mask: ``b m h w``, share of the background (first) and of each of the `m` - 1 motions: one
            for a key point, or for five with splines.
    """

    flow: Tensor
    mask: Tensor


def invert_2x2(matrix: Tensor, *, smallest: float = 1e-4) -> Tensor:
    """Invert matrices ``... 2 2``; a determinant nearer zero than `smallest` is moved to it.

    A detector may fold a neighbourhood flat; the motion there is then large but finite.
    """
    a, b = matrix[..., 0, 0], matrix[..., 0, 1]
    c, d = matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = a * d - b * c
    sign = torch.where(determinant < 0, -1.0, 1.0).to(determinant)
    determinant = torch.where(determinant.abs() < smallest, sign * smallest, determinant)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / determinant[..., None, None]


def gaussian_maps(points: Tensor, height: int, width: int, variance: float) -> Tensor:
    """Draw points ``b k 2`` as Gaussian bumps ``b k h w`` of height one."""
    grid = identity_grid(height, width, device=points.device, dtype=points.dtype)
    offset = grid - rearrange(points, "b k xy -> b k 1 1 xy")
    return torch.exp(-offset.square().sum(dim=-1) / (2 * variance))


def local_motions(driving: KeyPoints, source: KeyPoints, height: int, width: int) -> Tensor:
    """Give the identity and the affine motion round each key point: ``b k+1 h w 2``.

    ``T_k(z) = J_s J_d^-1 (z - k_d) + k_s`` (FOMM, equation 4); without Jacobians a shift.
    """
    grid = identity_grid(height, width, device=driving.value.device, dtype=driving.value.dtype)
    offset = grid - rearrange(driving.value, "b k xy -> b k 1 1 xy")
    if driving.jacobian is not None and source.jacobian is not None:
        affine = source.jacobian @ invert_2x2(driving.jacobian)
        offset = einsum(affine, offset, "b k i j, b k h w j -> b k h w i")
    motions = offset + rearrange(source.value, "b k xy -> b k 1 1 xy")
    return torch.cat([grid.expand(motions.shape[0], 1, -1, -1, -1), motions], dim=1)


def blend_motions(mask: Tensor, motions: Tensor) -> Tensor:
    """Sum motions ``b k h w 2``, weighted by masks ``b k h w``, to one flow ``b h w 2``."""
    return einsum(mask, motions, "b k h w, b k h w xy -> b h w xy")


def drop_motions(
    logits: Tensor, share: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Leave motions out at random, but never the first, the background (TPS Motion, section 3.3).

    Args:
        logits: ``b m h w``; those of a motion left out become minus infinity, so that a softmax
            gives its part to the others.
        share: chance of a motion to be left out, below 1.
    """
    dropped = torch.rand(logits.shape[:2], generator=generator) < share
    dropped[:, 0] = False
    dropped = rearrange(dropped.to(logits.device), "b m -> b m 1 1")
    return logits.masked_fill(dropped, -torch.inf)


class DenseMotion(nn.Module):
    """Choose, at every latent cell, which local motion to follow.

    The motions are FOMM's, affine round every key point; `anamodiff.lofnet.tps` has others.

    Args:
        block_expansion, num_blocks, max_features: widths and depth of the hourglass.
        num_kp: number of key points.
        num_channels: of the latents.
        scale_factor: the latents are downscaled by this first; the flow is resized back.
        kp_variance: of the bumps that show the points to the network.
        dropout: chance of each motion to be left out while training, the background excepted.
        align_corners: ``False`` only for parity with FOMM.

    Raises:
        AnaMoDiffError: the points cannot be grouped, or `dropout` leaves nothing.
    """

    motion = "affine"
    points_per_motion = 1

    def __init__(
        self,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        num_kp: int,
        num_channels: int,
        scale_factor: float = 1,
        kp_variance: float = 0.01,
        dropout: float = 0.0,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        self.config = {
            "block_expansion": block_expansion,
            "num_blocks": num_blocks,
            "max_features": max_features,
            "num_kp": num_kp,
            "num_channels": num_channels,
            "scale_factor": scale_factor,
            "kp_variance": kp_variance,
            "dropout": dropout,
            "align_corners": align_corners,
        }
        if num_kp % self.points_per_motion:
            raise AnaMoDiffError(
                f"expected key points in groups of {self.points_per_motion} for {self.motion} "
                f"motions, got {num_kp}: choose a multiple for num_kp"
            )
        if not 0 <= dropout < 1:
            raise AnaMoDiffError(f"expected a dropout of at least 0 and below 1, got {dropout!r}")
        self.kp_variance = kp_variance
        self.dropout = dropout
        self.align_corners = align_corners
        motions = num_kp // self.points_per_motion + 1
        inputs = num_kp + 1 + motions * num_channels
        self.hourglass = Hourglass(block_expansion, inputs, num_blocks, max_features)
        self.mask = nn.Conv2d(self.hourglass.out_filters, motions, 7, padding=3)
        self.down = AntiAliasDownsample(num_channels, scale_factor) if scale_factor != 1 else None

    def forward(
        self,
        latent: Tensor,
        driving: KeyPoints,
        source: KeyPoints,
        *,
        generator: torch.Generator | None = None,
    ) -> Motion:
        """Find the flow from the source's points to the driving points.

        Args:
            latent: ``b c h w`` of the source, whose points `source` are.
            driving, source: `b` key points each.
            generator: of the motions left out while training.

        Returns:
            The motion, its flow on the latent's grid, in 32 bits.
        """
        size = latent.shape[-2:]
        if self.down is not None:
            latent = self.down(latent)
        driving, source = driving.to(torch.float32), source.to(torch.float32)
        with torch.autocast(latent.device.type, enabled=False):
            # Coordinates in 16 bits are off by hundredths of a cell.
            motions = self.local_motions(driving, source, *latent.shape[-2:])
        logits = self.mask(self.hourglass(self._hints(latent, motions, driving, source))).float()
        if self.training and self.dropout > 0:
            logits = drop_motions(logits, self.dropout, generator=generator)
        mask = logits.softmax(dim=1)
        with torch.autocast(latent.device.type, enabled=False):
            return Motion(resize_flow(blend_motions(mask, motions), *size), mask)

    def local_motions(
        self, driving: KeyPoints, source: KeyPoints, height: int, width: int
    ) -> Tensor:
        """The identity and every motion on a grid: ``b m h w 2``."""
        return local_motions(driving, source, height, width)

    def arrange(self, bumps: Tensor, warped: Tensor) -> Tensor:
        """Order bumps ``b k+1 h w`` and latents ``b m c h w`` as channels: ``b (m c + k+1) h w``.

        FOMM has each motion's bump before its latent.
        """
        hints = torch.cat([rearrange(bumps, "b k h w -> b k 1 h w"), warped], dim=2)
        return rearrange(hints, "b k c h w -> b (k c) h w")

    def _hints(
        self, latent: Tensor, motions: Tensor, driving: KeyPoints, source: KeyPoints
    ) -> Tensor:
        """Show the points' bumps, and the latent warped by each motion."""
        height, width = latent.shape[-2:]
        count = motions.shape[1]
        bumps = gaussian_maps(driving.value, height, width, self.kp_variance)
        bumps = bumps - gaussian_maps(source.value, height, width, self.kp_variance)
        bumps = torch.cat([torch.zeros_like(bumps[:, :1]), bumps], dim=1)
        # One tall sampling grid warps the latent by all motions without copying it for each.
        tall = rearrange(motions, "b k h w xy -> b (k h) w xy")
        warped = warp(latent, tall, align_corners=self.align_corners, padding_mode="zeros")
        warped = rearrange(warped, "b c (k h) w -> b k c h w", k=count)
        return self.arrange(bumps, warped.to(bumps))
