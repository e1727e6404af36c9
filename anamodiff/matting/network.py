"""U2-Net, the small one: where the salient object of a picture is (Qin et al. 2020)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError

FOLDER, FILE = "checkpoints/matte", "u2netp.safetensors"
INNER, OUTER = 16, 64  # channels inside a block, and between blocks
#: Pixels of the square input. At 320, as in training, mattes take half as long again and are no
#: better.
SIDE = 256
# Of the pictures that it was trained on, in [0, 1].
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Convolution(nn.Conv2d):
    """A 3x3 convolution of the same size, with ReLU; batch norm is folded into its weights."""

    def __init__(self, channels: int, out: int, dilation: int = 1) -> None:
        super().__init__(channels, out, 3, padding=dilation, dilation=dilation)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu_(super().forward(input))


class ResidualBlock(nn.Module):
    """Residual U-block (RSU): a small U-Net whose output is added to its own input.

    Args:
        channels: of the input.
        depth: number of levels above the bottom, each of half the size of the one before.
        dilated: the levels keep the size and widen their convolutions instead (RSU-4F).
    """

    def __init__(self, channels: int, depth: int, dilated: bool = False) -> None:
        super().__init__()
        self.dilated = dilated
        widths = [2**level if dilated else 1 for level in range(depth)]
        self.enter = Convolution(channels, OUTER)
        self.down = nn.ModuleList(
            Convolution(INNER if level else OUTER, INNER, width)
            for level, width in enumerate(widths)
        )
        self.bottom = Convolution(INNER, INNER, 2**depth if dilated else 2)
        self.up = nn.ModuleList(
            Convolution(2 * INNER, INNER if level else OUTER, width)
            for level, width in enumerate(widths)
        )

    def forward(self, input: Tensor) -> Tensor:
        entered = self.enter(input)
        skips, hidden = [], entered
        for level, down in enumerate(self.down):
            hidden = down(hidden if self.dilated or not level else halved(hidden))
            skips.append(hidden)
        hidden = self.bottom(hidden)
        for level in reversed(range(len(skips))):
            hidden = self.up[level](torch.cat([resized(hidden, skips[level]), skips[level]], 1))
        return hidden + entered


class MatteNetwork(nn.Module):
    """U2-Net with 64 channels: a U-Net of residual U-blocks, with an output at each level."""

    def __init__(self) -> None:
        super().__init__()
        # Depths of the blocks, from the finest level to the bottom.
        blocks = [(6, False), (5, False), (4, False), (3, False), (3, True), (3, True)]
        self.encoder = nn.ModuleList(
            ResidualBlock(OUTER if level else 3, *block) for level, block in enumerate(blocks)
        )
        self.decoder = nn.ModuleList(ResidualBlock(2 * OUTER, *block) for block in blocks[:-1])
        self.sides = nn.ModuleList(nn.Conv2d(OUTER, 1, 3, padding=1) for _ in blocks)
        self.fuse = nn.Conv2d(len(blocks), 1, 1)

    @classmethod
    def load(cls, folder: Path) -> MatteNetwork:
        """From a folder with weights.

        Raises:
            AnaMoDiffError: there are none, or those of another network.
        """
        network, path = cls(), folder / FILE
        try:
            network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        except (OSError, RuntimeError) as error:
            line = " ".join(str(error).split())[:200]
            raise AnaMoDiffError(
                f"expected the matte network's weights in {path}, got '{line}': install AnaMoDiff "
                "again, or leave it out with --matte none"
            ) from error
        return network.eval().to(memory_format=torch.channels_last)  # half as fast without

    def forward(self, pictures: Tensor) -> Tensor:
        """Saliency ``f 1 h w`` before the sigmoid, of normalised pictures ``f 3 h w``."""
        skips, hidden = [], pictures
        for level, block in enumerate(self.encoder):
            hidden = block(halved(hidden) if level else hidden)
            skips.append(hidden)
        levels = [hidden]
        for level in reversed(range(len(self.decoder))):
            hidden = torch.cat([resized(hidden, skips[level]), skips[level]], 1)
            hidden = self.decoder[level](hidden)
            levels.insert(0, hidden)
        sides = [side(level) for side, level in zip(self.sides, levels, strict=True)]
        return self.fuse(torch.cat([resized(side, pictures) for side in sides], 1))

    @torch.no_grad()
    def saliency(self, frames: Tensor, side: int = SIDE) -> Tensor:
        """How surely each pixel is the character's, ``f h w`` in [0, 1].

        Args:
            frames: ``f 3 h w``, RGB in [-1, 1], of any size.
            side: pixels of the square that the network sees.
        """
        found = []
        weight = self.fuse.weight
        device = weight.device
        mean, spread = (torch.tensor(x, device=device).view(3, 1, 1) for x in (MEAN, SPREAD))
        for frame in frames.split(1):  # so that long clips need no more memory
            picture = frame.detach().to(device).float() / 2 + 0.5
            picture = F.interpolate(
                picture, (side, side), mode="bicubic", antialias=True, align_corners=False
            ).clamp(0, 1)
            # As in training, the brightest value is 1.
            picture = picture / picture.amax().clamp_min(1e-3)
            normal = ((picture - mean) / spread).to(weight.dtype, memory_format=torch.channels_last)
            found.append(resized(self(normal).float().sigmoid(), frame).to(frames.device))
        return rearrange(torch.cat(found), "f 1 h w -> f h w")


def fast_format() -> torch.dtype:
    """bf16 where the CPU multiplies matrices of it, which takes half as long; else fp32."""
    found = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.8 has none
    fast = any(found.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if fast else torch.float32


def halved(features: Tensor) -> Tensor:
    """The larger of each 2x2 values; an odd edge is kept."""
    return F.max_pool2d(features, 2, ceil_mode=True)


def resized(features: Tensor, like: Tensor) -> Tensor:
    """Features in the height and width of others."""
    if features.shape[-2:] == like.shape[-2:]:
        return features
    return F.interpolate(features, like.shape[-2:], mode="bilinear", align_corners=False)
