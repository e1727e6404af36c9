"""Long clips in windows that overlap, for networks that read a few frames at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WINDOW, OVERLAP = 16, 8  # frames that are looked at together in a long clip


def in_windows(
    found: Callable[[slice], tuple[Tensor, Tensor]], frames: int
) -> tuple[Tensor, Tensor]:
    """What is found in all frames of a clip, blended where windows overlap.

    Args:
        found: gives, of some of the frames, places ``b f k d`` and errors ``b f k``.
        frames: how many there are.
    """
    if frames <= WINDOW + OVERLAP:
        return found(slice(0, frames))
    starts = [*range(0, frames - WINDOW, WINDOW - OVERLAP), frames - WINDOW]
    cuts = [slice(start, start + WINDOW) for start in starts]
    parts = [found(cut) for cut in cuts]
    ramp = torch.minimum(torch.arange(1, WINDOW + 1), torch.arange(WINDOW, 0, -1))
    ramp = ramp.to(parts[0][0])[:, None]
    places, errors = (part.new_zeros(len(part), frames, *part.shape[2:]) for part in parts[0])
    weight = ramp.new_zeros(frames, 1)
    for cut, (place, error) in zip(cuts, parts, strict=True):
        places[:, cut] += place * ramp[..., None]
        errors[:, cut] += error * ramp
        weight[cut] += ramp
    return places / weight[..., None], errors / weight
