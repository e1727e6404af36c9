"""Runs the parts one after the other, each in a process of its own that is killed at its limit."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpu.record import write_json

ROOT = Path(__file__).resolve().parents[2]
DAY, LOG = "gpu_day.json", "gpu_day.log"
SECONDS = 280.0  # that the limits of `PARTS` are for
SHORTEST = 5.0  # seconds that a part can do anything in
LIBRARIES = ("torch", "triton", "diffusers", "transformers", "peft", "accelerate", "numpy", "av")
TAIL = 6000  # characters of a failed part's output in the JSON file
LOG_TAIL = 200_000
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Part:
    """A part: its module in `gpu`, the seconds that it may take, and those kept for it.

    `limit` is for `SECONDS` in all and is scaled; `least` is what its first figures take, on a host
    that is busy with other work, and is kept for it as long as all parts' together is to be had.
    """

    title: str
    module: str
    limit: float
    least: float


# In the order of what they are worth: the last ones are left out where time is short. The first
# extrapolates from as many iterations as its time allows, so that it leaves the others theirs.
PARTS = {
    "c": Part("stages at SD v1.4's size", "transfers", 115, 60),
    "d": Part("peak memory by --vram", "peaks", 50, 38),
    "b": Part("the demo on CPU and device", "demo", 60, 35),
    "a": Part("device tests", "suite", 60, 30),
    "e": Part("CUDA graphs, kernels, compilation", "compilation", 80, 40),
    "f": Part("LOFNet's training rate", "training", 30, 18),
}


class Child:
    """A part's process: it imports its libraries at once and begins when it is told to.

    Its time is counted from when it has imported them.
    """

    def __init__(self, letter: str, folder: Path, words: Sequence[str]) -> None:
        self.record, self.log = folder / f"{letter}.json", folder / f"{letter}.log"
        script = str(Path(sys.argv[0]).resolve())
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, *words, "--child", letter, "--record", str(self.record)],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True,
                start_new_session=True, env=os.environ | ENVIRONMENT,
            )  # fmt: skip

    def wait_until_ready(self, end: float) -> None:
        """Wait for its imports, at most until `end` on the monotonic clock."""
        while not ready_file(self.record).exists() and self.process.poll() is None:
            if time.monotonic() >= end:
                return
            time.sleep(0.05)

    def begin(self, seconds: float) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its output says why
            self.process.stdin.write(f"{time.time() + seconds}\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def figures(self) -> dict[str, Any]:
        try:
            return loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, JSONDecodeError):
            return {}

    def output(self, characters: int) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]


def run_parts(
    folder: Path, letters: Sequence[str], seconds: float, words: Sequence[str], commit: str | None
) -> dict[str, Any]:
    """Run the parts within so many seconds; returns what was written to `gpu_day.json`.

    Args:
        folder: for the JSON file, the log and the parts' pictures.
        words: of the command line, for the parts.
    """
    end = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LOG).write_text("", encoding="utf-8")
    day: dict[str, Any] = {"machine": machine(commit), "seconds": seconds, "parts": {}}
    least = _least(letters, seconds)
    with TemporaryDirectory() as work:
        children = {letter: Child(letter, Path(work), words) for letter in letters}
        try:
            for place, letter in enumerate(letters):
                later = sum(least[n] for n in letters[place + 1 :])
                children[letter].wait_until_ready(end - later)
                wanted = max(_scaled(PARTS[letter].limit, seconds), least[letter])
                _run(letter, children[letter], min(wanted, end - time.monotonic() - later), day,
                     folder)  # fmt: skip
        finally:
            for child in children.values():
                child.kill()
    return day


def _run(letter: str, child: Child, limit: float, day: dict[str, Any], folder: Path) -> None:
    """Run a part; what it found is written as it comes."""
    row: dict[str, Any] = {"title": PARTS[letter].title, "limit": round(limit, 1)}
    day["parts"][letter] = row
    if limit < min(PARTS[letter].least, SHORTEST):
        row["status"] = "left out"
        write_json(folder / DAY, day)
        return
    print(f"-- {letter}: {PARTS[letter].title}, at most {limit:.0f} s", flush=True)
    started = time.monotonic()
    child.begin(limit)
    row["status"] = "running"
    while child.process.poll() is None and time.monotonic() - started < limit:
        time.sleep(0.2)
        row["figures"] = child.figures()
        write_json(folder / DAY, day)
    code = child.process.poll()
    child.kill()
    row["seconds"] = round(time.monotonic() - started, 1)
    row["status"] = {0: "done", None: "out of time"}.get(code, "failed")
    row["figures"] = child.figures()
    if row["status"] != "done" or row["figures"].get("failed"):
        row["output"] = child.output(TAIL)
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(f"== {letter} ({row['status']})\n{child.output(LOG_TAIL)}\n")
    write_json(folder / DAY, day)
    print(f"   {row['status']} after {row['seconds']:.0f} s", flush=True)


def ready_file(record: Path) -> Path:
    """What a part writes once it has imported its libraries."""
    return record.with_suffix(".ready")


def _least(letters: Sequence[str], seconds: float) -> dict[str, float]:
    """Seconds that are kept for each part: its own, or its share where they are too many."""
    own = {letter: PARTS[letter].least for letter in letters}
    share = min(1.0, seconds / max(sum(own.values()), 1e-9))
    return {letter: share * least for letter, least in own.items()}


def _scaled(limit: float, seconds: float) -> float:
    return limit * seconds / SECONDS


def machine(commit: str | None) -> dict[str, Any]:
    """What was measured on: card, driver, processor, libraries, commit."""
    card = _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total",
                 "--format=csv,noheader")  # fmt: skip
    return {
        "card": card,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "commit": commit or _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _said(*words: str) -> str | None:
    """What a command prints; None where it is missing or fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
