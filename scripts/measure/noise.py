"""Mean, deviation and whiteness of Gaussian noise after each way to warp it."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from anamodiff.options import AdaptationOptions, NoiseWarp
from anamodiff.pipeline import AnaMoDiff
from anamodiff.warp import identity_grid, neighbour_correlation, warp_noise
from measure import Pairs


def flows(method: AnaMoDiff, pairs: Pairs) -> dict[str, Tensor]:
    """Flows b h w 2 of several kinds: synthetic ones, and those of LOFNet for the pairs."""
    size = method.backbone.latent_size
    grid = identity_grid(size, size)
    turn = math.radians(23)
    rotation = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    made = [
        method.warp(source[:1], driving, adaptation=AdaptationOptions()).flow[1:]
        for source, driving, _ in pairs.values()
    ]
    return {
        "identity": grid[None],
        "half a pixel": grid[None] + 1 / (size - 1),
        "rotation": (grid @ torch.tensor(rotation))[None],
        "zoom": 0.61 * grid[None],
        "LOFNet": torch.cat(made),
    }


def warped_noise(kinds: dict[str, Tensor], *, noises: int = 1000) -> dict[str, dict[str, float]]:
    """Mean, deviation and neighbour correlation after each warp, over so many noises."""
    rows = {}
    for kind, flow in kinds.items():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(noises, 4, *flow.shape[1:3], generator=generator)
        chosen = flow[torch.arange(noises) % len(flow)]
        for mode in get_args(NoiseWarp):
            moved = warp_noise(noise, chosen, mode=mode, generator=generator)
            rows[f"{kind}, {mode}"] = {
                "mean": float(moved.mean()),
                "deviation": float(moved.std()),
                "neighbours": neighbour_correlation(moved),
            }
    return rows
