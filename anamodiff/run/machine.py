"""What the operating system says of memory, the same way on Linux, macOS and Windows."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, in MB.

    psutil knows the peak on Windows only; elsewhere Python's own `resource` does. Where neither
    does, it is what is resident now.
    """
    try:
        import resource
    except ImportError:
        now = psutil.Process().memory_info()
        return round(getattr(now, "peak_wset", now.rss) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def begin_peak_memory() -> bool:
    """Forget the peak so far, so that `peak_memory_mb` is that of what follows; Linux can do so.

    Returns:
        Whether it did.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # other systems, and sandboxes
        return False
    return True


def free_memory() -> int:
    """Bytes of main memory that a process may still take."""
    return psutil.virtual_memory().available


def total_memory() -> int:
    """Bytes of main memory that there are."""
    return psutil.virtual_memory().total
