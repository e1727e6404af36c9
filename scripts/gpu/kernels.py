"""How much of a step's time a CUDA device computes, and in which kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

TOP = 30  # kernels that are named
NAME = 100  # characters of their names


def kernel_time(step: Callable[[], object], seconds: float) -> dict[str, Any]:
    """Kernel seconds and launches of a step, and the share of its time that they are.

    A share near one says that the kernels themselves decide; one well below it, that the device
    waits for the host.

    Args:
        seconds: that a step takes without the profiler, which slows the host down.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        step()
        torch.cuda.synchronize()
    rows = [row for row in profiled.key_averages() if row.device_type == DeviceType.CUDA]
    return summarise(
        [(row.key, row.self_device_time_total / 1e6, row.count) for row in rows], seconds
    )


def summarise(rows: list[tuple[str, float, int]], seconds: float) -> dict[str, Any]:
    """Sums of kernels (name, seconds, launches), and those that take the longest."""
    rows = sorted(rows, key=lambda row: -row[1])
    busy = sum(taken for _, taken, _ in rows)
    return {
        "seconds": seconds,
        "kernel_seconds": busy,
        "busy_share": busy / seconds,
        "launches": sum(count for _, _, count in rows),
        "kernels": [
            {"name": name[:NAME], "seconds": taken, "launches": count}
            for name, taken, count in rows[:TOP]
        ],
    }
