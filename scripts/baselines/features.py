"""Features of frames to compare reconstructions by: the embedded autoencoder's, or VGG-19's."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.lofnet.keypoints import AntiAliasDownsample
from anamodiff.resources import find
from anamodiff.tensors import read_tensors

#: Published is one scale more, for frames of twice the size.
SCALES = (1.0, 0.5, 0.25)
_LEVELS = 2  # of the encoder; a third costs a quarter of a step
# Channels of VGG-19's convolutions up to its fifth level; None is a pooling.
_VGG = (64, 64, None, 128, 128, None, 256, 256, 256, 256, None, 512, 512, 512, 512, None, 512)


class AutoencoderFeatures(nn.Module):
    """Pixels, and what the embedded autoencoder's encoder makes of them at its first levels.

    Published is VGG-19, whose weights are not shipped: see `VGGFeatures`.

    Args:
        dtype: in which the encoder works; the pixels are compared in their own.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        from anamodiff.backbone.load import load_vae  # slow, and the bank's workers need none of it

        super().__init__()
        vae, _ = load_vae(find("checkpoints/mini"), dtype)
        self.encoder, self.dtype = vae.encoder, dtype
        self.requires_grad_(False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Levels of frames ``b 3 h w`` in [0, 1]."""
        levels = [2 * frames - 1]
        # Group norm, which autocast has in 32 bits, is half of the work.
        with torch.autocast(frames.device.type, enabled=False):
            levels.append(self.encoder.conv_in(levels[0].to(self.dtype)))
            for block in self.encoder.down_blocks[:_LEVELS]:
                levels.append(block(levels[-1]))
        return levels


class VGGFeatures(nn.Module):
    """The published levels, after the first ReLU of each resolution of VGG-19.

    Args:
        weights: torchvision's file, `vgg19-dcbb9e9d.pth`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.features, self.ends = self.layers()
        state = read_tensors(weights)
        self.load_state_dict({name: state[name] for name in self.state_dict()})
        imagenet = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        self.register_buffer("mean", imagenet[0].view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", imagenet[1].view(3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @staticmethod
    def layers() -> tuple[nn.Sequential, list[int]]:
        """The network up to its fifth level, and the number of each level's last layer."""
        layers: list[nn.Module] = []
        ends, channels, fresh = [], 3, True
        for width in _VGG:
            if width is None:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
                if fresh:
                    ends.append(len(layers) - 1)
            fresh = width is None
        return nn.Sequential(*layers), ends

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Levels of frames ``b 3 h w`` in [0, 1]."""
        x, levels = (frames - self.mean) / self.deviation, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.ends:
                levels.append(x)
        return levels


class PerceptualLoss(nn.Module):
    """Mean absolute differences of features over a pyramid of scales, summed.

    Each level is divided by its own root mean square, since an autoencoder's levels differ more
    than VGG's.
    """

    def __init__(self, features: nn.Module, scales: tuple[float, ...] = SCALES) -> None:
        super().__init__()
        self.features = features
        self.downs = nn.ModuleList(AntiAliasDownsample(3, scale) for scale in scales if scale < 1)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The loss, 0-d, of frames ``b 3 h w`` in [0, 1]."""
        total = made.new_zeros(())
        for down in (nn.Identity(), *self.downs):
            with torch.autocast(made.device.type, enabled=False):
                small, target = down(made.float()), down(wanted.float())
            with torch.no_grad():
                targets = self.features(target)
            for found, target in zip(self.features(small), targets, strict=True):
                size = target.float().square().mean().sqrt().clamp_min(1e-6)
                total = total + F.l1_loss(found.float(), target.float()) / size
        return total
