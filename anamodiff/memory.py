"""How much graphics memory a run may take: presets, and what it took."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from anamodiff.errors import AnaMoDiffError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a run does to save graphics memory; none of it changes a result but for rounding.

    `checkpoint_levels` and `clips_at_once` are tuning's settings, None for its own choice;
    `offload` keeps idle models in main memory; `frames_at_once` is the autoencoder's.
    """

    checkpoint_levels: Literal["none", "top", "all"] | None = None
    clips_at_once: int | None = None
    offload: bool = False
    frames_at_once: int = 4

    def tuning(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Settings of tuning: those given that are not None, and its own where none is given."""
        own = {"checkpoint_levels": self.checkpoint_levels, "clips_at_once": self.clips_at_once}
        return {**own, **{key: value for key, value in (given or {}).items() if value is not None}}


# By the GiB of a graphics card. `scripts/count_costs.py memory` counts what they come to with
# Stable Diffusion v1.4 and ten frames.
PRESETS = {
    8: Memory(checkpoint_levels="all", clips_at_once=1, offload=True, frames_at_once=1),
    12: Memory(checkpoint_levels="top", clips_at_once=1, offload=True, frames_at_once=2),
    16: Memory(checkpoint_levels="top", clips_at_once=1),
    24: Memory(checkpoint_levels="none", clips_at_once=1),
}
# What must be free, in GiB, for `auto` to choose one; from ROOMY on, there is nothing to save.
NEEDS = {8: 0, 12: 11, 16: 13.5, 24: 19}
ROOMY = 32


def choose_memory(
    device: torch.device, *, vram: int | str | None = None, offload: bool | None = None,
    frames_at_once: int | None = None,
) -> Memory:  # fmt: skip
    """The preset for a device, with what is given besides in the place of its own.

    Args:
        device: where the models compute. On a CPU no preset has an effect.
        vram: graphics memory to make do with, in GiB, one of `PRESETS`; "auto" and None: what is
            free on a CUDA device.
        offload, frames_at_once: of `Memory`; None takes the preset's.

    Raises:
        AnaMoDiffError: there is no such preset, or `frames_at_once` is below 1.
    """
    if vram not in (None, "auto", *PRESETS):
        known = ", ".join(map(str, PRESETS))
        raise AnaMoDiffError(f"expected a memory.vram of {known} or auto, got {vram!r}")
    if frames_at_once is not None and frames_at_once < 1:
        raise AnaMoDiffError(f"expected memory.frames_at_once of at least 1, got {frames_at_once}")
    if vram in (None, "auto"):
        vram = _fitting(device)
    chosen = Memory() if vram is None or device.type == "cpu" else PRESETS[vram]
    given = {"offload": offload, "frames_at_once": frames_at_once}
    return replace(chosen, **{name: value for name, value in given.items() if value is not None})


def _fitting(device: torch.device) -> int | None:
    """The preset for what is free on a CUDA device; None elsewhere, and where there is plenty."""
    if device.type != "cuda":
        return None
    free = torch.cuda.mem_get_info(device)[0] / 2**30
    if free >= ROOMY:
        return None
    vram = max(size for size, needed in NEEDS.items() if needed <= free)
    log.info("memory: settings for %d GiB (%.1f GiB free on %s)", vram, free, device)
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
