"""What each way to warp Gaussian noise leaves of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from anamodiff.lofnet import AdaptationOptions, animate
from anamodiff.pipeline import MotionTransfer
from anamodiff.warp import identity_grid, neighbour_correlation, warp_noise
from measure.pairs import Pair

MODES = ("nearest", "preserve", "paper", "bilinear")


def flows(mover: MotionTransfer, pairs: list[Pair]) -> dict[str, Tensor]:
    """Flows of several kinds, `b h w 2`, those of LOFNet among them."""
    size = mover.backbone.latent_size
    grid = identity_grid(size, size)
    turn = math.radians(23)
    rotation = [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    made = [
        animate(
            mover.lofnet, pair.source[:1], mover.backbone.encode(pair.source[:1]), pair.driving,
            adaptation=AdaptationOptions(),
        ).motion.flow[1:]
        for pair in pairs
    ]  # fmt: skip
    return {
        "identity": grid[None],
        "half a pixel": grid[None] + 1 / (size - 1),
        "rotation": (grid @ torch.tensor(rotation))[None],
        "zoom": 0.61 * grid[None],
        "LOFNet": torch.cat(made),
    }


def leftovers(kinds: dict[str, Tensor], *, noises: int = 1000) -> dict[str, dict[str, float]]:
    """Standard deviation and neighbour correlation after each warp of so many noises."""
    rows = {}
    for kind, flow in kinds.items():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(noises, 4, *flow.shape[1:3], generator=generator)
        chosen = flow[torch.arange(noises) % len(flow)]
        for mode in MODES:
            moved = warp_noise(noise, chosen, mode=mode, generator=generator)
            rows[f"{kind}, {mode}"] = {
                "mean": float(moved.mean()),
                "deviation": float(moved.std()),
                "neighbours": neighbour_correlation(moved),
            }
    return rows
