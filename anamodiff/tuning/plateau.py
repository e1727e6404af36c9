"""When to stop tuning: as soon as the loss, asked on the same draws, no longer falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from anamodiff.diffusion import Schedule
from anamodiff.tuning.loss import NoisyClip, disentangled_loss

EVERY = 10  # iterations between two looks
LEVELS = 3  # noise levels of each look
PATIENCE = 2  # looks without a gain
DRAWS = 7_000_003  # apart from the seeds of iterations


def looks_flat(looks: Sequence[float], share: float) -> bool:
    """Whether the last looks brought the loss down by less than `share` of it, each.

    Args:
        looks: logarithms of the loss, one every `EVERY` iterations.
    """
    if len(looks) <= PATIENCE:
        return False
    gained = min(looks[:-PATIENCE]) - min(looks[-PATIENCE:])
    return gained < -PATIENCE * math.log1p(-share)


@torch.no_grad()
def look(
    unet: nn.Module,
    source: NoisyClip,
    warped: NoisyClip | None,
    embedding: Tensor,
    schedule: Schedule,
    *,
    seed: int,
    window: int,
    clips_at_once: int = 2,
) -> float:
    """Mean logarithm of the terms of the loss, at fixed noise and levels spread over each range.

    The training losses themselves would show a trend only over many iterations: they differ more
    by the timesteps drawn. A mean of logarithms, because the error at high noise, where motion is
    learnt, is a hundredth of that at low noise, and would not be seen in a mean.
    """
    terms: list[Tensor] = []
    for level in range(LEVELS):
        generator = torch.Generator().manual_seed(seed * DRAWS - 1 - level)
        seen = (clip and _at(clip, level).seen(window, generator) for clip in (source, warped))
        loss = disentangled_loss(
            unet, *seen, embedding, schedule, generator, clips_at_once=clips_at_once
        )  # fmt: skip
        terms += [loss.source] if loss.warped is None else [loss.source, loss.warped]
    return torch.stack(terms).clamp(min=torch.finfo(torch.float32).tiny).log().mean().item()


def _at(clip: NoisyClip, level: int) -> NoisyClip:
    """The clip at the middle timestep of one of `LEVELS` equal parts of its range."""
    t = clip.first + (clip.stop - clip.first) * (2 * level + 1) // (2 * LEVELS)
    return replace(clip, first=t, stop=t + 1)
