"""TPS Motion's inpainting network: the source's features moved, masked, and painted where hidden.

After Zhao and Zhang, CVPR 2022, section 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anamodiff.baselines.blocks import ResBlock, SameBlock, down_path, instance_norm
from anamodiff.baselines.tps_flow import SCALES, OccludedFlow
from anamodiff.lofnet.hourglass import UpBlock

_LEVELS = SCALES - 1


@dataclass(frozen=True)
class Painted:
    """A reconstruction.

    Attributes:
        frames: ``b c h w`` in [0, 1].
        deformed: the source, only moved.
        features: the source's own at every level, from the finest.
    """

    frames: Tensor
    deformed: Tensor
    features: list[Tensor]


class InpaintingNetwork(nn.Module):
    """Encoder and decoder with a moved and masked skip connection at each of four levels.

    Args:
        num_channels: of the frames.
        block_expansion: channels at full resolution; `max_features` must be eight times as many.
        padding_mode: what is seen beyond the frame; published: ``zeros``.
    """

    def __init__(
        self, num_channels: int, block_expansion: int, padding_mode: str = "zeros"
    ) -> None:
        super().__init__()
        self.padding_mode = padding_mode
        most = block_expansion * 2**_LEVELS
        self.first = SameBlock(num_channels, block_expansion, 7, instance_norm)
        self.down_blocks = down_path(block_expansion, most, _LEVELS, instance_norm)
        # Every level but the coarsest takes the skip connection, which is as wide as its input.
        inputs = [most, *(most // 2**i for i in range(_LEVELS - 1))]
        outputs = [most // 2 ** (i + 1) for i in range(_LEVELS)]
        self.up_blocks = nn.ModuleList(
            UpBlock(a, b, instance_norm) for a, b in zip(inputs, outputs, strict=True)
        )
        self.resblock = nn.ModuleList(
            ResBlock(width, instance_norm) for width in inputs for _ in range(2)
        )
        self.final = nn.Conv2d(block_expansion, num_channels, 7, padding=3)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Features of frames ``b c h w``, from the finest."""
        features = [self.first(frames)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return features

    def forward(self, source: Tensor, flow: OccludedFlow) -> Painted:
        """Reconstruct from the source ``b c h w`` in [0, 1]."""
        features = self.encode(source)
        coarsest, *skips = self.moved(features, flow)
        x = coarsest
        last = flow.occlusions[-1]
        for level, (up, skip) in enumerate(zip(self.up_blocks, skips, strict=True)):
            x = up(self.resblock[2 * level + 1](self.resblock[2 * level](x)))
            x = x * (1 - last) + skip if level == _LEVELS - 1 else torch.cat([x, skip], dim=1)
        painted = self.final(x).float().sigmoid()
        deformed = flow.warp(source, self.padding_mode)
        return Painted(painted * (1 - last) + deformed * last, deformed, features)

    def moved(self, features: list[Tensor], flow: OccludedFlow) -> list[Tensor]:
        """Features moved and masked, from the coarsest."""
        return [
            flow.warp(x, self.padding_mode) * mask
            for x, mask in zip(reversed(features), flow.occlusions, strict=True)
        ]
