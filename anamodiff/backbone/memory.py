"""How much graphics memory a run may take: presets, and what it took."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from anamodiff.options import CheckpointLevels, MemoryOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a run does to save graphics memory; none of it changes a result but for rounding.

    `checkpoint_levels` and `clips_at_once` are tuning's settings, None for its own choice;
    `offload` keeps idle models in main memory; `frames_at_once` is the autoencoder's.
    """

    checkpoint_levels: CheckpointLevels | None = None
    clips_at_once: int | None = None
    offload: bool = False
    frames_at_once: int = 4

    @property
    def tuning(self) -> dict[str, Any]:
        """Settings of tuning, by field; None leaves tuning its own."""
        return {"checkpoint_levels": self.checkpoint_levels, "clips_at_once": self.clips_at_once}


# By the GiB of a graphics card. `scripts/count_costs.py memory` counts what they come to with
# Stable Diffusion v1.4 and ten frames.
VRAM_PRESETS = {
    8: Memory(checkpoint_levels="all", clips_at_once=1, offload=True, frames_at_once=1),
    12: Memory(checkpoint_levels="top", clips_at_once=1, offload=True, frames_at_once=2),
    16: Memory(checkpoint_levels="top", clips_at_once=1),
    24: Memory(checkpoint_levels="none", clips_at_once=1),
}
# What must be free, in GiB, for `auto` to choose one; from ROOMY on, there is nothing to save.
NEEDS = {8: 0, 12: 11, 16: 13.5, 24: 19}
ROOMY = 32


def choose_memory(device: torch.device, options: MemoryOptions | None = None) -> Memory:
    """The preset for a device, with what is given besides in the place of its own.

    Args:
        device: where the models compute. On a CPU no preset has an effect.
        options: `vram` "auto" and None stand for what is free on a CUDA device.
    """
    given = options or MemoryOptions()
    vram = _fitting(device) if given.vram in (None, "auto") else given.vram
    chosen = Memory() if vram is None or device.type == "cpu" else VRAM_PRESETS[vram]
    own = {"offload": given.offload, "frames_at_once": given.frames_at_once}
    return replace(chosen, **{name: value for name, value in own.items() if value is not None})


def _fitting(device: torch.device) -> int | None:
    """The preset for what is free on a CUDA device; None elsewhere, and where there is plenty."""
    if device.type != "cuda":
        return None
    free = torch.cuda.mem_get_info(device)[0] / 2**30
    if free >= ROOMY:
        return None
    vram = max(size for size, needed in NEEDS.items() if needed <= free)
    logger.info("memory: settings for %d GiB (%.1f GiB free on %s)", vram, free, device)
    return vram


@contextmanager
def peak_memory(peaks: dict[str, int], stage: str, device: torch.device) -> Iterator[None]:
    """Note the most memory (MB) that tensors take on a CUDA device during a stage."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.reset_peak_memory_stats(device)
    yield
    peaks[stage] = round(torch.cuda.max_memory_allocated(device) / 2**20)
