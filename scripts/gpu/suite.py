"""The quick suite's device tests, on the device."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from gpu.bench import Bench

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/devices", "tests/backbone/test_memory.py")
MARGIN = 2.0  # seconds before the part's own limit


def measure(bench: Bench) -> None:
    """Run the tests in pytest, and note its last lines and the tests that failed."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rfEs", "--tb=short",
             "--durations=5", "-p", "no:cacheprovider", *TESTS]  # fmt: skip
    if bench.small:
        words += ["-k", "objective or noticed"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    bench.record.note(command=words[1:])
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=max(5.0, bench.record.left() - MARGIN),
    )  # fmt: skip
    print(done.stdout)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    bench.record.note(
        passed=done.returncode == 0,
        summary=lines[-1] if lines else "",
        failures=[line for line in lines if line.startswith(("FAILED", "ERROR"))],
        skipped=[line for line in lines if line.startswith("SKIPPED")],
        seconds=time.perf_counter() - started,
    )
    if done.returncode:
        raise RuntimeError(f"pytest ended with {done.returncode}: {lines[-1:]}")
