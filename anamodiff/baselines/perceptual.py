"""Frames compared by an autoencoder's features, instead of VGG's, whose weights are not here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anamodiff.lofnet.keypoints import AntiAliasDownsample

#: Published is one scale more, for frames of twice the size.
SCALES = (1.0, 0.5, 0.25)
_LEVELS = 2  # of the encoder; a third costs a quarter of a step


class EncoderFeatures(nn.Module):
    """Pixels, and what an autoencoder's encoder makes of them at its first levels.

    Args:
        encoder: diffusers' `Encoder`; it is not trained, and works in its own type.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.requires_grad_(False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Levels of frames ``b 3 h w`` in [0, 1]."""
        levels = [2 * frames - 1]
        dtype = next(self.encoder.parameters()).dtype
        first, blocks = (
            self.encoder.get_submodule("conv_in"),
            self.encoder.get_submodule("down_blocks"),
        )
        # Group norm, which autocast has in 32 bits, is half of the work.
        with torch.autocast(frames.device.type, enabled=False):
            levels.append(first(levels[0].to(dtype)))
            for block in list(blocks.children())[:_LEVELS]:
                levels.append(block(levels[-1]))
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
