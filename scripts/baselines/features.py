"""Features of frames to compare reconstructions by: the embedded autoencoder's, or VGG-19's."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from anamodiff.baselines.perceptual import EncoderFeatures
from anamodiff.resources import find
from anamodiff.tensors import read_tensors

# Channels of VGG-19's convolutions up to its fifth level; None is a pooling.
_VGG = (64, 64, None, 128, 128, None, 256, 256, 256, 256, None, 512, 512, 512, 512, None, 512)


def autoencoder_features(dtype: torch.dtype = torch.float32) -> EncoderFeatures:
    """The embedded autoencoder's, which works in a type of its own.

    Published is VGG-19, whose weights are not shipped: see `VGGFeatures`.
    """
    from anamodiff.backbone.load import load_vae  # slow, and the bank's workers need none of it

    vae, _ = load_vae(find("checkpoints/mini"), dtype)
    return EncoderFeatures(vae.encoder)


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
