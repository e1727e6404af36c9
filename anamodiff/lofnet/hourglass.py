"""The hourglass network of the detector and of the dense motion, with FOMM's module names."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError

# On fewer cells (b times h times w) summing the weights costs more than it saves.
_FOLD_FROM = 256


def upsample_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Twofold nearest-neighbour upsampling and a 3x3 convolution in one, at half the cost.

    Among the nine inputs of an output cell are copies of one another: each parity of the output
    is a 2x2 convolution of `x` itself, with summed weights.

    Args:
        x: ``b i h w``.
        weight: ``o i 3 3``.

    Returns:
        ``b o 2h 2w``, equal to ``conv2d(interpolate(x, scale_factor=2), weight, padding=1)``.
    """
    height, width = x.shape[-2:]
    if x.shape[0] * height * width < _FOLD_FROM:
        return F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)
    rows = _fold(weight, dim=2)
    kernels = [kernel for row in rows for kernel in _fold(row, dim=3)]
    bias = None if bias is None else bias.repeat(4)
    y = F.conv2d(x, torch.cat(kernels), bias, padding=1)  # b 4o h+1 w+1
    parities = rearrange(y, "b (py px o) h w -> py px b o h w", py=2, px=2)
    cut = torch.stack([
        parities[py, px, ..., py : py + height, px : px + width] for py in (0, 1) for px in (0, 1)
    ])  # fmt: skip
    return rearrange(cut, "(py px) b o h w -> b o (h py) (w px)", py=2)


def _fold(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Sum three taps along `dim` to two, for the even and for the odd cells of the output."""
    first, middle, last = weight.split(1, dim=dim)
    return torch.cat([first, middle + last], dim), torch.cat([first + middle, last], dim)


#: What makes a block's norm, given the number of its channels.
Norm = Callable[[int], nn.Module]


class DownBlock(nn.Module):
    """Convolution, norm, ReLU, average pooling: ``b c h w -> b c' h/2 w/2``."""

    def __init__(self, in_features: int, out_features: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1)
        self.norm = norm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class UpBlock(nn.Module):
    """Upsampling, convolution, norm, ReLU: ``b c h w -> b c' 2h 2w``."""

    def __init__(self, in_features: int, out_features: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1)
        self.norm = norm(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(upsample_conv(x, self.conv.weight, self.conv.bias)))


class Encoder(nn.Module):
    """Blocks that halve the resolution; returns the input and every block's output."""

    def __init__(self, widths: list[int], norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(
            DownBlock(a, b, norm) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [x]
        for block in self.down_blocks:
            outputs.append(block(outputs[-1]))
        return outputs


class Decoder(nn.Module):
    """Blocks that double the resolution, each with a skip connection from the encoder.

    Returns every block's output with its skip connection, from the coarsest.
    """

    def __init__(self, pairs: list[tuple[int, int]], norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList(UpBlock(a, b, norm) for a, b in pairs)

    def forward(self, outputs: list[Tensor]) -> list[Tensor]:
        *skips, x = outputs
        levels = []
        for block, skip in zip(self.up_blocks, reversed(skips), strict=True):
            x = torch.cat([block(x), skip], dim=1)
            levels.append(x)
        return levels


class Hourglass(nn.Module):
    """U-shaped network: ``b in_features h w -> b out_filters h w``.

    Height and width must be multiples of ``2 ** num_blocks``, else `AnaMoDiffError`.
    """

    def __init__(
        self,
        block_expansion: int,
        in_features: int,
        num_blocks: int = 3,
        max_features: int = 256,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_blocks + 1)]
        pairs = [
            # Every block but the innermost also takes the skip, which is as wide as its input.
            (widths[i + 1] * (1 if i == num_blocks - 1 else 2), widths[i])
            for i in reversed(range(num_blocks))
        ]
        self.encoder = Encoder([in_features, *widths[1:]], norm)
        self.decoder = Decoder(pairs, norm)
        self.stride = 2**num_blocks
        #: Autocast type of the convolutions in training; None leaves it to the caller. Outputs are
        #: in 32 bits: coordinates computed from them need those.
        self.precision: torch.dtype | None = None
        self.out_filters = widths[0] + in_features

    def forward(self, x: Tensor) -> Tensor:
        return self.levels(x)[-1]

    def levels(self, x: Tensor) -> list[Tensor]:
        """Every level of the decoder with its skip connection, from the coarsest."""
        if x.shape[-2] % self.stride or x.shape[-1] % self.stride:
            raise AnaMoDiffError(
                f"expected a height and width that are multiples of {self.stride}, got "
                f"{x.shape[-2]}x{x.shape[-1]}: resize the input or use fewer blocks"
            )
        if self.precision is None:
            return self.decoder(self.encoder(x))
        with torch.autocast(x.device.type, self.precision):
            return [level.float() for level in self.decoder(self.encoder(x))]
