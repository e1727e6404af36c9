"""TPS Motion's key-point detector: regression by a ResNet-18.

Names are torchvision's, under ``fg_encoder``, so that TPS Motion's checkpoints load strictly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.lofnet.keypoints import KeyPoints


class ResNetDetector(nn.Module):
    """Detect key points by regression, without Jacobians (TPS Motion, section 3.1).

    Args:
        num_kp: number of points; TPS Motion has five for each spline.
        num_channels: of the frames.
        width: of the encoder's first layers.
    """

    def __init__(self, num_kp: int, num_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.config = {"encoder": "resnet18", "num_kp": num_kp, "num_channels": num_channels}
        if width != 64:
            self.config["width"] = width
        self.fg_encoder = ResNet18(num_channels, 2 * num_kp, width)

    def forward(self, frames: Tensor) -> KeyPoints:
        """Detect on frames ``b c h w`` in [0, 1] of any size from 32 pixels; trained on 256."""
        logits = self.fg_encoder(frames).float()
        return KeyPoints(2 * torch.sigmoid(rearrange(logits, "b (k xy) -> b k xy", xy=2)) - 1)


class ResNet18(nn.Module):
    """ResNet-18 (He et al., 2016), `width` channels first: ``b c h w -> b d``."""

    def __init__(self, in_channels: int, out_features: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _layer(width, width, stride=1)
        self.layer2 = _layer(width, 2 * width, stride=2)
        self.layer3 = _layer(2 * width, 4 * width, stride=2)
        self.layer4 = _layer(4 * width, 8 * width, stride=2)
        self.fc = nn.Linear(8 * width, out_features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection: ``b c h w -> b c' h/stride w/stride``."""

    def __init__(self, in_features: int, out_features: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_features, out_features, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_features)
        self.conv2 = nn.Conv2d(out_features, out_features, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_features)
        self.downsample = None
        if stride != 1 or in_features != out_features:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_features, out_features, 1, stride, bias=False),
                nn.BatchNorm2d(out_features),
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


def _layer(in_features: int, out_features: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(in_features, out_features, stride),
        ResidualBlock(out_features, out_features, 1),
    )
