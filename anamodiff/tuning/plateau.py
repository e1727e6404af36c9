"""Early stopping of tuning: once the loss, evaluated on fixed noise, no longer falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from anamodiff.diffusion import Schedule, generator_of
from anamodiff.tuning.loss import NoisyClip, disentangled_loss

EVERY = 10  # iterations between two probes
PROBE_LEVELS = 3  # noise levels of each probe
PATIENCE = 2  # probes without improvement
PROBE_SEED = 7_000_003  # the probes' noise differs from the iterations'


def has_plateaued(probes: Sequence[float], share: float) -> bool:
    """Whether each of the last `PATIENCE` probes lowered the loss by less than `share` of it.

    Args:
        probes: logarithms of the loss, one every `EVERY` iterations.
    """
    if len(probes) <= PATIENCE:
        return False
    gained = min(probes[:-PATIENCE]) - min(probes[-PATIENCE:])
    return gained < -PATIENCE * math.log1p(-share)


@torch.no_grad()
def probe_loss(
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
    """Mean logarithm of the loss's terms at fixed noise and `PROBE_LEVELS` timesteps of each range.

    Training losses vary more with their random timesteps than over tens of iterations. Logarithms,
    because the error at high noise, where motion is learnt, is a hundredth of that at low noise:
    a mean of the errors would not show it.
    """
    terms: list[Tensor] = []
    for level in range(PROBE_LEVELS):
        generator = generator_of(seed * PROBE_SEED - 1 - level)
        windows = (
            clip and _at(clip, level).random_window(window, generator) for clip in (source, warped)
        )
        loss = disentangled_loss(
            unet, *windows, embedding, schedule, generator, clips_at_once=clips_at_once
        )  # fmt: skip
        terms += [loss.source] if loss.warped is None else [loss.source, loss.warped]
    return torch.stack(terms).clamp(min=torch.finfo(torch.float32).tiny).log().mean().item()


def _at(clip: NoisyClip, level: int) -> NoisyClip:
    """The clip at the middle timestep of one of `PROBE_LEVELS` equal parts of its range."""
    t = clip.first + (clip.stop - clip.first) * (2 * level + 1) // (2 * PROBE_LEVELS)
    return replace(clip, first=t, stop=t + 1)
