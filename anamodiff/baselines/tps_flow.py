"""TPS Motion's dense motion: splines and an affine background, one flow, occlusion at scales.

After Zhao and Zhang, "Thin-Plate Spline Motion Model for Image Animation", CVPR 2022, sections
3.1 to 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from anamodiff.baselines.blocks import instance_norm
from anamodiff.lofnet.flow import blend_motions, drop_motions, gaussian_maps
from anamodiff.lofnet.hourglass import Hourglass, UpBlock
from anamodiff.lofnet.keypoints import AntiAliasDownsample
from anamodiff.lofnet.resnet import ResNet18
from anamodiff.lofnet.tps import POINTS, spline_motions
from anamodiff.warp import identity_grid, resize_flow, warp

#: Resolutions with an occlusion mask: one for each level of the inpainting network.
SCALES = 4


@dataclass(frozen=True)
class OccludedFlow:
    """A backward flow, the masks that it was blended with, and what of the source is usable.

    Attributes:
        flow: ``b h w 2`` on the dense motion's own grid.
        masks: ``b m h w``, the background first; they sum to one.
        occlusions: masks ``b 1 h w`` in [0, 1], from the coarsest; 0 is to be painted anew.
    """

    flow: Tensor
    masks: Tensor
    occlusions: list[Tensor]

    def warp(self, x: Tensor, padding_mode: str) -> Tensor:
        """``b c h w`` moved by the flow, at its own resolution."""
        return warp(x, resize_flow(self.flow, *x.shape[-2:]), padding_mode=padding_mode)


class BackgroundPredictor(nn.Module):
    """The affine motion of the background between two frames (section 3.2).

    It begins with the identity, whatever the frames.
    """

    def __init__(self, num_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.bg_encoder = ResNet18(2 * num_channels, 6, width)
        nn.init.zeros_(self.bg_encoder.fc.weight)
        with torch.no_grad():
            self.bg_encoder.fc.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Homogeneous matrices ``b 3 3`` that take driving to source coordinates."""
        rows = self.bg_encoder(torch.cat([source, driving], dim=1)).float()
        last = rows.new_tensor([0.0, 0, 1]).expand(len(rows), 1, 3)
        return torch.cat([rearrange(rows, "b (i j) -> b i j", i=2), last], dim=1)


class SplineFlow(nn.Module):
    """Blend an affine background and K splines into one flow, with occlusion masks.

    Args:
        num_tps: splines, each with five key points.
        num_channels: of the frames.
        block_expansion, num_blocks, max_features: widths and depth of the hourglass.
        scale_factor: the frames are downscaled by this first: 0.25 or 0.5.
        kp_variance: of the Gaussian heat maps.
        exact: fit offsets, so that equal points give the identity. The published splines are
            smoothed by a ridge and do not.
        padding_mode: what is seen beyond the frame; published: ``zeros``.
    """

    def __init__(
        self,
        num_tps: int,
        num_channels: int,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        scale_factor: float = 0.25,
        kp_variance: float = 0.01,
        exact: bool = False,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        self.kp_variance, self.exact, self.padding_mode = kp_variance, exact, padding_mode
        self.down = AntiAliasDownsample(num_channels, scale_factor)
        inputs = num_channels * (num_tps + 1) + POINTS * num_tps + 1
        self.hourglass = Hourglass(
            block_expansion, inputs, num_blocks, max_features, norm=instance_norm
        )
        width = self.hourglass.out_filters
        self.maps = nn.Conv2d(width, num_tps + 1, 7, padding=3)
        ups = round(1 / scale_factor).bit_length() - 1
        finer = [width // 2**i for i in range(ups + 1)]
        self.up = nn.ModuleList(
            UpBlock(a, b, instance_norm) for a, b in zip(finer, finer[1:], strict=False)
        )
        # The decoder's outputs with their skip connections, the last but one and coarser.
        coarser = [2 * min(max_features, block_expansion * 2**i) for i in range(1, SCALES - ups)]
        self.occlusion = nn.ModuleList(
            nn.Conv2d(channels, 1, 7, padding=3) for channels in (*reversed(coarser), *finer)
        )

    def forward(
        self,
        frames: Tensor,
        driving: Tensor,
        source: Tensor,
        *,
        background: Tensor | None = None,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> OccludedFlow:
        """The flow from driving to source points.

        Args:
            frames: the source, ``b c h w`` in [0, 1].
            driving, source: points ``b k 2``, five a spline.
            background: matrices ``b 3 3``; None: it stands still.
            dropout: probability to drop a spline, in training (section 3.3).
        """
        frames = self.down(frames)
        size = frames.shape[-2:]
        with torch.autocast(frames.device.type, enabled=False):
            frames, driving, source = frames.float(), driving.float(), source.float()
            motions = self.motions(driving, source, background, *size)
            inputs = self._inputs(frames, motions, driving, source)
        levels = self.hourglass.levels(inputs)
        logits = self.maps(levels[-1]).float()
        if dropout > 0:
            logits = drop_motions(logits, dropout, generator=generator)
        masks = logits.softmax(dim=1)
        with torch.autocast(frames.device.type, enabled=False):
            flow = blend_motions(masks, motions)
        return OccludedFlow(flow, masks, self._occlusions(levels))

    def motions(
        self, driving: Tensor, source: Tensor, background: Tensor | None, height: int, width: int
    ) -> Tensor:
        """The background's motion and each spline's on a grid: ``b k+1 h w 2``."""
        driving, source = (
            rearrange(points, "b (k n) xy -> b k n xy", n=POINTS) for points in (driving, source)
        )
        grid = identity_grid(height, width, device=driving.device, dtype=driving.dtype)
        if self.exact:
            splines = grid + spline_motions(driving, source - driving, height, width)
        else:
            splines = spline_motions(driving, source, height, width)
        still = grid.expand(len(driving), -1, -1, -1)
        if background is not None:
            linear, shift = background[:, :2, :2], background[:, :2, 2]
            still = torch.einsum("bij,bhwj->bhwi", linear, still) + shift[:, None, None]
        return torch.cat([still[:, None], splines], dim=1)

    def _inputs(self, frames: Tensor, motions: Tensor, driving: Tensor, source: Tensor) -> Tensor:
        """Heat maps, driving minus source, then the frame moved by each motion: ``b d h w``."""
        height, width = frames.shape[-2:]
        heat = gaussian_maps(driving, height, width, self.kp_variance)
        heat = heat - gaussian_maps(source, height, width, self.kp_variance)
        tall = rearrange(motions, "b m h w xy -> b (m h) w xy")
        moved = warp(frames, tall, padding_mode=self.padding_mode)
        moved = rearrange(moved, "b c (m h) w -> b (m c) h w", m=motions.shape[1])
        return torch.cat([torch.zeros_like(heat[:, :1]), heat, moved], dim=1)

    def _occlusions(self, levels: list[Tensor]) -> list[Tensor]:
        features = levels[len(self.up) - SCALES :]
        for up in self.up:
            features.append(up(features[-1]))
        return [
            layer(x).float().sigmoid() for layer, x in zip(self.occlusion, features, strict=True)
        ]
