"""Blocks of the rivals' pixel networks, with the published module names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.lofnet.hourglass import DownBlock, Norm


def instance_norm(channels: int) -> nn.Module:
    """Instance norm with learnt scale and offset, TPS Motion's."""
    return nn.InstanceNorm2d(channels, affine=True)


class SameBlock(nn.Module):
    """Convolution, norm, ReLU: ``b c h w -> b c' h w``."""

    def __init__(
        self, in_features: int, out_features: int, kernel: int, norm: Norm = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel, padding=kernel // 2)
        self.norm = norm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class ResBlock(nn.Module):
    """Twice norm, ReLU, convolution, and a skip connection: ``b c h w -> b c h w``."""

    def __init__(self, features: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = norm(features)
        self.norm2 = norm(features)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(hidden)))


def down_path(
    block_expansion: int, max_features: int, blocks: int, norm: Norm = nn.BatchNorm2d
) -> nn.ModuleList:
    """Blocks that halve the resolution and double the channels, up to `max_features`."""
    widths = [min(max_features, block_expansion * 2**i) for i in range(blocks + 1)]
    return nn.ModuleList(DownBlock(a, b, norm) for a, b in zip(widths, widths[1:], strict=False))
