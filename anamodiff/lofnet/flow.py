"""Dense optical flow on the latent grid from key points of two frames (paper, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.lofnet.keypoints import AntiAliasDownsample, KeyPoints
from anamodiff.visual.flow import MASKS_TITLE, flow_rows, mask_picture
from anamodiff.visual.sheets import few, sheet_jpeg
from anamodiff.warp import identity_grid, resize_flow, warp


@dataclass(frozen=True)
class Motion:
    """A dense flow and the masks that it was blended with.

    Attributes:
        flow: ``b h w 2``, a backward sampling grid.
        mask: ``b m h w``, softmax weights of the background (first) and of each local motion: one
            a key point, or one every five of them with splines.
    """

    flow: Tensor
    mask: Tensor

    def resized(self, height: int, width: int) -> Motion:
        """The same motion on another grid; masks still sum to one."""
        if self.flow.shape[1:3] == (height, width):
            return self
        mask = F.interpolate(self.mask, (height, width), mode="bilinear", align_corners=True)
        return Motion(resize_flow(self.flow, height, width), mask)

    def _repr_jpeg_(self) -> bytes:
        """The flow as colours and as a warped grid, and the masks, for notebooks."""
        return sheet_jpeg([*flow_rows(self.flow), (MASKS_TITLE, mask_picture(few(self.mask)))])


def invert_2x2(matrix: Tensor, *, smallest: float = 1e-4) -> Tensor:
    """Invert matrices ``... 2 2``; determinants nearer zero than `smallest` are clamped to it.

    Predicted Jacobians may be singular: their inverse is large, but finite.
    """
    a, b = matrix[..., 0, 0], matrix[..., 0, 1]
    c, d = matrix[..., 1, 0], matrix[..., 1, 1]
    determinant = a * d - b * c
    sign = torch.where(determinant < 0, -1.0, 1.0).to(determinant)
    determinant = torch.where(determinant.abs() < smallest, sign * smallest, determinant)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / determinant[..., None, None]


def gaussian_maps(points: Tensor, height: int, width: int, variance: float) -> Tensor:
    """Gaussian heat maps ``b k h w`` of points ``b k 2``, one at the points themselves."""
    grid = identity_grid(height, width, device=points.device, dtype=points.dtype)
    offset = grid - rearrange(points, "b k xy -> b k 1 1 xy")
    return torch.exp(-offset.square().sum(dim=-1) / (2 * variance))


def local_motions(driving: KeyPoints, source: KeyPoints, height: int, width: int) -> Tensor:
    """The identity and the affine motion around each key point: ``b k+1 h w 2``.

    ``T_k(z) = J_s J_d^-1 (z - k_d) + k_s`` (FOMM, equation 4); without Jacobians a translation.
    """
    grid = identity_grid(height, width, device=driving.value.device, dtype=driving.value.dtype)
    offset = grid - rearrange(driving.value, "b k xy -> b k 1 1 xy")
    if driving.jacobian is not None and source.jacobian is not None:
        affine = source.jacobian @ invert_2x2(driving.jacobian)
        offset = einsum(affine, offset, "b k i j, b k h w j -> b k h w i")
    motions = offset + rearrange(source.value, "b k xy -> b k 1 1 xy")
    return torch.cat([grid.expand(motions.shape[0], 1, -1, -1, -1), motions], dim=1)


def blend_motions(mask: Tensor, motions: Tensor) -> Tensor:
    """Sum of motions ``b m h w 2`` weighted by masks ``b m h w``: one flow ``b h w 2``."""
    return einsum(mask, motions, "b m h w, b m h w xy -> b h w xy")


def drop_motions(
    logits: Tensor, share: float, *, generator: torch.Generator | None = None
) -> Tensor:
    """Dropout of whole motions, the background (the first) excepted (TPS Motion, section 3.3).

    Args:
        logits: ``b m h w``; those of dropped motions become minus infinity, which a softmax
            redistributes to the others.
        share: probability to drop a motion, below 1.
    """
    dropped = torch.rand(logits.shape[:2], generator=generator) < share
    dropped[:, 0] = False
    dropped = rearrange(dropped.to(logits.device, non_blocking=True), "b m -> b m 1 1")
    return logits.masked_fill(dropped, -torch.inf)


class DenseMotion(nn.Module):
    """Blend local motions into one flow by a softmax mask at every latent cell.

    The motions are FOMM's, affine around every key point; `SplineMotion` has thin-plate splines.

    Args:
        block_expansion, num_blocks, max_features: widths and depth of the hourglass.
        num_kp: number of key points.
        num_channels: of the latents.
        scale_factor: the latents are downscaled by this first; the flow is resized back.
        kp_variance: of the Gaussian heat maps.
        dropout: probability to drop a motion in training, the background excepted.
        align_corners: False only for parity with FOMM.

    Raises:
        AnaMoDiffError: `num_kp` is not a multiple of `points_per_motion`.
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
        """Predict the flow that warps the source to the driving points.

        Args:
            latent: of the source, ``b c h w``.
            driving, source: key points of `b` frames each.
            generator: of the dropout.

        Returns:
            Flow on the latent's grid and masks, in 32 bits.
        """
        features, motions = self.features(latent, driving, source)
        return self.blend(features, motions, *latent.shape[-2:], generator=generator)

    def features(
        self, latent: Tensor, driving: KeyPoints, source: KeyPoints
    ) -> tuple[Tensor, Tensor]:
        """The hourglass' output ``b d h' w'`` and the motions ``b m h' w' 2``, where it works."""
        if self.down is not None:
            latent = self.down(latent)
        driving, source = driving.to(torch.float32), source.to(torch.float32)
        with torch.autocast(latent.device.type, enabled=False):
            # Coordinates in 16 bits are off by hundredths of a cell.
            motions = self.local_motions(driving, source, *latent.shape[-2:])
        return self.hourglass(self._input(latent, motions, driving, source)), motions

    def blend(
        self,
        features: Tensor,
        motions: Tensor,
        height: int,
        width: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Motion:
        """One flow ``b height width 2`` of what `features` gives."""
        logits = self.mask(features).float()
        if self.training and self.dropout > 0:
            logits = drop_motions(logits, self.dropout, generator=generator)
        mask = logits.softmax(dim=1)
        with torch.autocast(features.device.type, enabled=False):
            return Motion(resize_flow(blend_motions(mask, motions), height, width), mask)

    def local_motions(
        self, driving: KeyPoints, source: KeyPoints, height: int, width: int
    ) -> Tensor:
        """The identity and every local motion on a grid: ``b m h w 2``."""
        return local_motions(driving, source, height, width)

    def concatenate(self, heat_maps: Tensor, warped: Tensor) -> Tensor:
        """Channels of the hourglass: ``b k+1 h w`` and ``b m c h w`` to ``b (m c + k+1) h w``.

        In FOMM's order, each motion's heat map before its warped latent.
        """
        channels = torch.cat([rearrange(heat_maps, "b k h w -> b k 1 h w"), warped], dim=2)
        return rearrange(channels, "b k c h w -> b (k c) h w")

    def _input(
        self, latent: Tensor, motions: Tensor, driving: KeyPoints, source: KeyPoints
    ) -> Tensor:
        """Heat maps, driving minus source, and the latent warped by each motion."""
        height, width = latent.shape[-2:]
        count = motions.shape[1]
        heat_maps = gaussian_maps(driving.value, height, width, self.kp_variance)
        heat_maps = heat_maps - gaussian_maps(source.value, height, width, self.kp_variance)
        heat_maps = torch.cat([torch.zeros_like(heat_maps[:, :1]), heat_maps], dim=1)
        # One tall sampling grid warps the latent by all motions without copying it for each.
        tall = rearrange(motions, "b m h w xy -> b (m h) w xy")
        warped = warp(latent, tall, align_corners=self.align_corners, padding_mode="zeros")
        warped = rearrange(warped, "b c (m h) w -> b m c h w", m=count)
        return self.concatenate(heat_maps, warped.to(heat_maps))
