"""More from the same latents: recoloured frames for the detector, and zoomed pairs."""

import math
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor

from anamodiff.lofnet.clips import Pairs
from anamodiff.warp import identity_grid, warp


@dataclass(frozen=True)
class Jitter:
    """A recolouring and a zoom for each pair, the same for both of its frames.

    Attributes:
        colours: ``b 3 4``, affine maps of RGB in [-1, 1]; none leaves the colours.
        zooms: ``b``, 2 looks at twice as much (so the character is half as large), 0.5 at half;
            none leaves the size.
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
    ) -> "Jitter":
        """Draw jitters.

        Args:
            colour: largest change: of the hue in turns, of saturation, contrast and brightness
                in shares (FOMM: 0.1 each).
            size: largest change of the size, as a share.
        """
        shares = 2 * torch.rand(5, batch, generator=generator) - 1
        colours = _colour_maps(*(colour * shares[:4])) if colour else None
        zooms = torch.exp(shares[4] * math.log1p(size)) if size else None
        return cls(colours, zooms)

    def to(self, device: torch.device | str) -> "Jitter":
        """Move both tensors."""
        parts = (self.colours, self.zooms)
        return Jitter(*(None if part is None else part.to(device) for part in parts))

    def __call__(self, pairs: Pairs) -> Pairs:
        """Recolour the frames, which only the detector sees, and zoom frames and latents alike.

        The latents keep their colours: a motion is the same in all colours, and so must its key
        points be. A zoom about the middle is one and the same map of both grids, though their
        corners' centres are not at the same place.
        """
        frames, latents = pairs.frames, pairs.latents
        if self.colours is not None:
            maps = repeat(self.colours, "b i j -> (pair b) i j", pair=2)
            frames = einsum(maps[..., :3], frames, "b i j, b j h w -> b i h w")
            frames = (frames + rearrange(maps[..., 3], "b i -> b i 1 1")).clamp(-1, 1)
        if self.zooms is not None:
            frames, latents = _zoomed(frames, self.zooms), _zoomed(latents, self.zooms)
        return Pairs(frames, latents)


def _colour_maps(hue: Tensor, saturation: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Affine maps ``b 3 4`` that change RGB in [-1, 1] by so much (``b`` each, 0 changes none)."""
    grey = torch.full((3, 3), 1 / 3)  # onto the axis of greys, round which hues turn
    turn = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    angle = rearrange(2 * math.pi * hue, "b -> b 1 1")
    hues = angle.cos() * (torch.eye(3) - grey) + angle.sin() * turn
    linear = grey + rearrange(1 + saturation, "b -> b 1 1") * hues
    light = rearrange(1 + brightness, "b -> b 1 1")
    linear = light * rearrange(1 + contrast, "b -> b 1 1") * linear
    # Brightness scales light, which is zero at -1.
    return torch.cat([linear, (light - 1).expand(-1, 3, -1)], dim=2)


def _zoomed(x: Tensor, zooms: Tensor) -> Tensor:
    """Sources and driving ``2b c h w``, each seen through its pair's zoom ``b``."""
    grid = identity_grid(*x.shape[-2:], device=x.device)
    flow = rearrange(repeat(zooms, "b -> (pair b)", pair=2), "b -> b 1 1 1") * grid
    return warp(x, flow)
