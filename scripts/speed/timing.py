"""Timing of functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch


def best_of(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of the fastest of several runs of each function after a first one.

    On one thread it is processor time, which other work on the machine disturbs least. They run in
    turn, so that other work disturbs all of them.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for work in works.values():
        work()
    taken = dict.fromkeys(works, float("inf"))
    for _ in range(repeats):
        for name, work in works.items():
            started = clock()
            work()
            taken[name] = min(taken[name], clock() - started)
    return taken


def once(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one run, until the device is done."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def matmul_peak(device: torch.device, dtype: torch.dtype, *, repeats: int = 20) -> float:
    """Operations a second of large matrix products, the mean of some after a few first ones."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            left @ right
        end.record()
        end.synchronize()
        seconds = begin.elapsed_time(end) / 1000
    else:
        seconds = once(lambda: [left @ right for _ in range(repeats)], device)
    return 2 * side**3 * repeats / seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
