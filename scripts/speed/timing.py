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


def matmul_peak(device: torch.device, dtype: torch.dtype, *, seconds: float = 1.0) -> float:
    """Operations a second of large matrix products, the fastest of those run in some seconds."""
    side = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    fastest, spent = float("inf"), 0.0
    once(lambda: left @ right, device)
    while spent < seconds:
        taken = once(lambda: left @ right, device)
        fastest, spent = min(fastest, taken), spent + taken
    return 2 * side**3 / fastest


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
