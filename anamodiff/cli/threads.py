"""How many threads to compute with, where other programs keep the cores busy."""

from __future__ import annotations

import logging
import os
import statistics
import time
from pathlib import Path

logger = logging.getLogger(__name__)

VARIABLE = "OMP_NUM_THREADS"
RUNNING = Path("/proc/loadavg")  # Linux's; its fourth word begins with what runs at this moment
LOOKS, PAUSE = 5, 0.02  # seconds between two looks


def leave_busy_cores_alone() -> None:
    """Set the number of threads, before torch is imported, where some cores are in use.

    Threads that share a core wait for one another at every step: two on one core can take ten
    times as long as one. Nothing is done where the user has set a number, all cores are free, or
    the system does not tell.
    """
    cores = _cores()
    if VARIABLE in os.environ or cores < 2 or (busy := busy_cores()) is None:
        return
    free = max(1, round(cores * max(0.0, 1 - busy / (os.cpu_count() or cores))))
    if free < cores:
        os.environ[VARIABLE] = str(free)
        logger.info(
            "other programs use the cores: computing with %d of %d threads (%s sets another "
            "number)", free, cores, VARIABLE,
        )  # fmt: skip


def busy_cores() -> float | None:
    """How many tasks but this one run or wait for a core, on the whole machine; None: unknown."""
    counts = []
    for look in range(LOOKS):
        if look:
            time.sleep(PAUSE)
        try:
            counts.append(int(RUNNING.read_text(encoding="ascii").split()[3].split("/")[0]) - 1)
        except (OSError, IndexError, ValueError):
            return None
    return statistics.median(counts)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
