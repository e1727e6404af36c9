"""Latents of augmented frames, kept on the device and renewed while the UNet is trained.

The encoder costs half as much as a training step of the UNet; but a latent can be met a few times,
each with other noise. So of each batch a share is encoded anew, from frames augmented anew, and
takes the place of the oldest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .data import Frames, augment, halved
from .text import Captions


class Ring:
    """A few tensors with a row for each latent; the newest rows replace the oldest."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.total = capacity, 0
        self.kept: list[Tensor] = []

    def add(self, *values: Tensor) -> None:
        """Put in values `b ...` of each kind."""
        if not self.kept:
            self.kept = [v.new_empty(self.capacity, *v.shape[1:]) for v in values]
        count = len(values[0])
        slots = torch.arange(self.total, self.total + count, device=values[0].device)
        for kept, value in zip(self.kept, values, strict=True):
            kept[slots % self.capacity] = value
        self.total += count

    def draw(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Random ones."""
        filled = min(self.total, self.capacity)
        chosen = torch.randint(filled, (count,), generator=generator, device=generator.device)
        return [kept[chosen] for kept in self.kept]


class LatentPool:
    """Batches for the UNet: of whole size, or of half the size in a share `small` of the steps.

    `batch` latents of whole size, twice as many of half the size, of which a share `renew` is new.
    At the first step `first` times as many are encoded.
    """

    def __init__(
        self, vae: Any, frames: Frames, captions: Captions, *, batch: int, small: float,
        renew: float, capacity: int, creatures: float, look: dict[str, float],
        dtype: torch.dtype, first: int = 32,
    ) -> None:  # fmt: skip
        self.vae, self.frames, self.captions = vae.to(dtype).eval(), frames, captions
        self.batch_size, self.small, self.renew, self.first = batch, small, renew, first
        self.creatures, self.look, self.dtype = creatures, look, dtype
        self.rings = {half: Ring(capacity) for half in (False, True)}
        self.rows = captions.indices(frames.captions)

    def batch(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Clean latents b c h w and tokens b n; the size is that of the step."""
        half = int((step + 1) * self.small) > int(step * self.small)
        count = self.batch_size * (2 if half else 1)
        ring = self.rings[half]
        if self.frames.poll():
            self.rows = self.captions.indices(self.frames.captions)
        rounds = self.first if not ring.total else 1
        for _ in range(rounds):
            ring.add(*self.encode(max(1, round(count * self.renew)), half, generator))
        latents, rows, recoloured = ring.draw(count, generator)
        return latents.float(), self.captions.draw(rows, recoloured, generator)

    @torch.no_grad()
    def encode(
        self, count: int, half: bool, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of frames chosen and augmented anew, rows of their captions, and which of them
        have other colours than their captions say."""
        chosen = self.frames.choose(count, self.creatures, generator)
        pictures = augment(self.frames.pixels[chosen], generator, **self.look)
        pixels = halved(pictures.pixels) if half else pictures.pixels
        latents = self.vae.encode(pixels.to(self.dtype)).latent_dist.mode()
        return latents, self.rows[chosen], pictures.recoloured
