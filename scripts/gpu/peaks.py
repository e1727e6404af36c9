"""Peak memory of the `--vram` presets, each in no more memory than it promises."""

from __future__ import annotations

import gc
from typing import Any

import torch
from speed.stages import measure_memory

from anamodiff.backbone.memory import VRAM_PRESETS
from gpu.bench import Bench

BARS = {8: {"tuning": 6.0, "generation": 6.0}, 12: {"tuning": 11.0, "generation": 6.0}}  # GiB
CONTEXT = 0.7  # GiB of a card that the driver takes


def measure(bench: Bench) -> None:
    """Peaks (GiB) of tuning and of generation, and whether they fit a card of that size."""
    lofnet, presets = bench.lofnet(), {}
    for vram in VRAM_PRESETS:
        presets[f"--vram {vram}"] = _preset(bench, lofnet, vram)
        bench.record.note(presets=presets)


def _preset(bench: Bench, lofnet: Any, vram: int) -> dict[str, Any]:
    """One preset's peaks; measured again without a limit where it does not fit."""
    found: dict[str, Any] = {}
    for limit in (vram - CONTEXT, None) if bench.on_cuda else (None,):
        _limit(bench, limit)
        try:
            found |= measure_memory(bench.size, lofnet, bench.device, vram)
        except torch.OutOfMemoryError as error:
            found["out_of_memory"] = str(error)[:500]
        gc.collect()
        bench.settle()
        if limit is not None:
            found["fits"] = "out_of_memory" not in found
        if found.get("fits"):
            break
    _limit(bench, None)
    bars = BARS.get(vram, {}) if bench.on_cuda and not bench.small else {}
    meets = {
        f"{name}_meets_bar": found.get(name, float("inf")) <= bar for name, bar in bars.items()
    }
    return found | {f"{name}_bar": bar for name, bar in bars.items()} | meets


def _limit(bench: Bench, gib: float | None) -> None:
    """Let the allocator have so much of the device's memory; all without a limit."""
    if bench.on_cuda:
        total = torch.cuda.get_device_properties(bench.device).total_memory / 2**30
        share = 1.0 if gib is None else min(1.0, gib / total)
        torch.cuda.set_per_process_memory_fraction(share)  # takes no device without a number
