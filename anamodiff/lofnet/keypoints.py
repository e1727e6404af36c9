"""Key points with Jacobians, and the network that detects them (FOMM's detector)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

from anamodiff.lofnet.hourglass import Hourglass
from anamodiff.warp import identity_grid


@dataclass(frozen=True)
class KeyPoints:
    """Key points of a batch of frames.

    Attributes:
        value: ``b k 2``, (x, y) in [-1, 1].
        jacobian: ``b k 2 2``, the local affine frame at each; None for a detector without them.
    """

    value: Tensor
    jacobian: Tensor | None = None

    def __len__(self) -> int:
        return self.value.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> KeyPoints:
        """Select frames; an integer keeps the batch dimension, as a batch of one."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return self._map(lambda t: t[index])

    @classmethod
    def join(cls, parts: Sequence[KeyPoints]) -> KeyPoints:
        """Concatenate batches."""
        value = torch.cat([part.value for part in parts])
        jacobians = [part.jacobian for part in parts if part.jacobian is not None]
        return cls(value, torch.cat(jacobians) if jacobians else None)

    def expand(self, batch: int) -> KeyPoints:
        """Repeat a batch of one `batch` times, without copying."""
        return self._map(lambda t: t.expand(batch, *t.shape[1:]))

    def to(self, target: torch.device | str | torch.dtype) -> KeyPoints:
        """Move to a device, or cast to a type."""
        return self._map(lambda t: t.to(target))

    def _map(self, function: Callable[[Tensor], Tensor]) -> KeyPoints:
        jacobian = None if self.jacobian is None else function(self.jacobian)
        return KeyPoints(function(self.value), jacobian)


class AntiAliasDownsample(nn.Module):
    """Gaussian blur, then every (1 / scale)-th pixel: ``b c h w -> b c h*scale w*scale``.

    FOMM's rule: standard deviation (1 / scale - 1) / 2, cut off at four of them.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        sigma = (1 / scale - 1) / 2
        radius = round(4 * sigma)
        taps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-(taps**2) / (2 * sigma**2))
        kernel = torch.outer(kernel, kernel)
        kernel = rearrange(kernel / kernel.sum(), "h w -> 1 1 h w")
        self.register_buffer("weight", kernel.repeat(channels, 1, 1, 1))
        self.padding = radius
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        stride = round(1 / self.scale)
        exact = abs(stride * self.scale - 1) < 1e-6
        channels = x.shape[1]
        # Striding skips the pixels that would be dropped: the same numbers, 1/stride^2 the work.
        step = stride if exact else 1
        x = F.conv2d(x, self.weight, stride=step, padding=self.padding, groups=channels)
        return x if exact else F.interpolate(x, scale_factor=self.scale)


class KeypointDetector(nn.Module):
    """Detect K key points with Jacobians on RGB frames (paper, section 3.2; FOMM, section 3.1).

    Args:
        block_expansion, max_features, num_blocks: widths and depth of the hourglass.
        num_kp: number of key points.
        num_channels: of the frames.
        temperature: of the spatial softmax.
        estimate_jacobian: whether to predict Jacobians.
        scale_factor: the frames are downscaled by this first.
        single_jacobian_map: one Jacobian map for all points (FOMM on MGIF), not one each.
        pad: of the output convolutions; 0 loses three cells at each border, as FOMM's does.
    """

    def __init__(
        self,
        block_expansion: int,
        num_kp: int,
        num_channels: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_jacobian: bool = True,
        scale_factor: float = 1,
        single_jacobian_map: bool = False,
        pad: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "block_expansion": block_expansion,
            "num_kp": num_kp,
            "num_channels": num_channels,
            "max_features": max_features,
            "num_blocks": num_blocks,
            "temperature": temperature,
            "estimate_jacobian": estimate_jacobian,
            "scale_factor": scale_factor,
            "single_jacobian_map": single_jacobian_map,
            "pad": pad,
        }
        self.temperature = temperature
        self.predictor = Hourglass(block_expansion, num_channels, num_blocks, max_features)
        filters = self.predictor.out_filters
        self.kp = nn.Conv2d(filters, num_kp, 7, padding=pad)
        maps = 1 if single_jacobian_map else num_kp
        self.jacobian = _identity_jacobians(filters, maps, pad) if estimate_jacobian else None
        self.down = AntiAliasDownsample(num_channels, scale_factor) if scale_factor != 1 else None

    def forward(self, frames: Tensor) -> KeyPoints:
        """Detect on frames ``b c h w`` in [0, 1]."""
        if self.down is not None:
            frames = self.down(frames)
        logits, jacobian_maps = self._output_maps(self.predictor(frames))
        with torch.autocast(logits.device.type, enabled=False):
            # Coordinates averaged in 16 bits are off by hundredths of a latent cell.
            return self._points(self._heat_maps(logits), jacobian_maps)

    def _points(self, heat_maps: Tensor, jacobian_maps: Tensor | None) -> KeyPoints:
        """Expected coordinates and Jacobians under heat maps ``b k h w``."""
        grid = identity_grid(*heat_maps.shape[-2:], device=heat_maps.device)
        value = einsum(heat_maps, grid, "b k h w, h w xy -> b k xy")
        if jacobian_maps is None:
            return KeyPoints(value)
        maps = rearrange(jacobian_maps, "b (m i j) h w -> b m i j h w", i=2, j=2)
        maps = maps.expand(-1, value.shape[1], -1, -1, -1, -1)
        return KeyPoints(value, einsum(heat_maps, maps, "b k h w, b k i j h w -> b k i j"))

    def _output_maps(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Heat map logits ``b k h w`` and Jacobian maps ``b 4m h w``, in 32 bits."""
        if self.jacobian is None:
            return self.kp(features).float(), None
        # One convolution for both layers: narrow ones waste most of their time.
        weight = torch.cat([self.kp.weight, self.jacobian.weight])
        bias = torch.cat([self.kp.bias, self.jacobian.bias])
        maps = F.conv2d(features, weight, bias, padding=self.kp.padding).float()
        return maps[:, : self.kp.out_channels], maps[:, self.kp.out_channels :]

    def _heat_maps(self, logits: Tensor) -> Tensor:
        """Spatial softmax: ``b k h w``, each map summing to one."""
        height, width = logits.shape[-2:]
        heat = rearrange(logits, "b k h w -> b k (h w)") / self.temperature
        return rearrange(heat.softmax(dim=-1), "b k (h w) -> b k h w", h=height, w=width)


def _identity_jacobians(filters: int, maps: int, pad: int) -> nn.Conv2d:
    """An output layer that predicts the identity everywhere before training."""
    layer = nn.Conv2d(filters, 4 * maps, 7, padding=pad)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(maps))
    return layer
