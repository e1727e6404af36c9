"""Augmentation of cached pairs: colour jitter of the detector's frames, zoom of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor

from anamodiff.lofnet.training.dataset import Pairs
from anamodiff.warp import identity_grid, warp


@dataclass(frozen=True)
class Jitter:
    """A colour transform and a zoom for each pair, the same for both of its frames.

    Attributes:
        colours: ``b 3 4``, affine maps of RGB in [-1, 1]; None changes no colours.
        zooms: (b,), factors of the sampling grid, so that 2 halves the character's size; None
            changes no size.
    """

    colours: Tensor | None
    zooms: Tensor | None

    @classmethod
    def random(
        cls,
        batch: int,
        *,
        generator: torch.Generator | None = None,
        colour: float = 0.0,
        size: float = 0.0,
    ) -> Jitter:
        """Random jitters of `batch` pairs.

        Args:
            colour: largest change of the hue, in turns, and of saturation, contrast and
                brightness, as shares (FOMM: 0.1 each).
            size: largest change of the size, as a share.
        """
        shares = 2 * torch.rand(5, batch, generator=generator) - 1
        colours = _colour_maps(*(colour * shares[:4])) if colour else None
        zooms = torch.exp(shares[4] * math.log1p(size)) if size else None
        return cls(colours, zooms)

    def to(self, device: torch.device | str) -> Jitter:
        parts = (self.colours, self.zooms)
        return Jitter(*(None if part is None else part.to(device) for part in parts))

    def __call__(self, pairs: Pairs) -> Pairs:
        """Jitter the colours of the frames and zoom frames and latents alike.

        The latents keep their colours: key points should not depend on these. A zoom about the
        centre is the same map of both grids, though their corner pixels have different centres.
        """
        frames, latents = pairs.frames, pairs.latents
        if self.colours is not None:
            maps = repeat(self.colours, "b i j -> (pair b) i j", pair=2)
            frames = einsum(maps[..., :3], frames, "b i j, b j h w -> b i h w")
            frames = (frames + rearrange(maps[..., 3], "b i -> b i 1 1")).clamp(-1, 1)
        if self.zooms is not None:
            frames, latents = _zoom(frames, self.zooms), _zoom(latents, self.zooms)
        return Pairs(frames, latents)


def _colour_maps(hue: Tensor, saturation: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Affine maps ``b 3 4`` of RGB in [-1, 1] from changes (b,) each; 0 is none."""
    grey = torch.full((3, 3), 1 / 3)  # projects onto the grey axis, around which hues rotate
    turn = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    angle = rearrange(2 * math.pi * hue, "b -> b 1 1")
    hues = angle.cos() * (torch.eye(3) - grey) + angle.sin() * turn
    linear = grey + rearrange(1 + saturation, "b -> b 1 1") * hues
    light = rearrange(1 + brightness, "b -> b 1 1")
    linear = light * rearrange(1 + contrast, "b -> b 1 1") * linear
    # Brightness scales intensity, which is zero at -1.
    return torch.cat([linear, (light - 1).expand(-1, 3, -1)], dim=2)


def _zoom(x: Tensor, zooms: Tensor) -> Tensor:
    """Sources, then driving ``2b c h w``, zoomed by their pairs' factors (b,)."""
    grid = identity_grid(*x.shape[-2:], device=x.device)
    flow = rearrange(repeat(zooms, "b -> (pair b)", pair=2), "b -> b 1 1 1") * grid
    return warp(x, flow)
