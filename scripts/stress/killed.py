"""Commands that are stopped at random moments and resumed, against one that was left alone."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anamodiff.lofnet.training.train  # imported before the fork
import anamodiff.run.api  # noqa: F401  likewise
from anamodiff import creatures
from anamodiff.cli.main import main
from anamodiff.video.clip import write_video
from anamodiff.video.letterbox import from_pixels

PATIENCE = 600.0  # seconds that one command may take
START = 0.15  # share of the moments that lie before the first file is written


@dataclass(frozen=True)
class Command:
    """A command with tiny settings.

    Attributes:
        words: without the output.
        results: patterns of files in the output folder that must be the same, bit by bit.
    """

    words: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Stop:
    """One run that was stopped and resumed.

    Attributes:
        seconds: after which it was stopped.
        files: that it had written by then.
        line: what it said last.
        wrong: what is wrong with it after it was resumed; empty where nothing is.
    """

    seconds: float
    files: int
    line: str
    wrong: str


def commands(folder: Path) -> dict[str, Command]:
    """The commands that are stopped; their clips are drawn into a folder."""
    clips = folder / "clips"
    for seed in range(3):
        pair = creatures.draw_pair(
            seed, source_species="turtle", driving_species="rhino", motion="jump", frames=6, size=64
        )
        for name, drawn in (("source", pair.source), ("driving", pair.driving)):
            write_video(clips / f"{name}{seed}.gif", from_pixels(drawn.frames), drawn.fps)
    shared = ("--backbone", "mini", "--device", "cpu", "--precision", "fp32", "progress=false")
    transfer = (
        "transfer", "--source", f"{clips}/source0.gif", "--driving", f"{clips}/driving0.gif",
        "--prompt", "a turtle", "--frames", "4", "--iterations", "10", "--steps", "2",
        "--size", "128",
        "tuning.checkpoint_every=2", *shared,
    )  # fmt: skip
    train = (
        "train-lofnet", "--data", str(clips), "--steps", "12", "training.batch_size=2",
        "training.save_every=2", "training.measure_every=4", "training.picture_every=6",
        "training.log_every=1", "training.epochs=null", *shared,
    )  # fmt: skip
    return {
        "transfer": Command(transfer, ("frames/*.png", "weights/*.safetensors", "result.*")),
        "train-lofnet": Command(train, ("lofnet.safetensors", "lofnet.json", "pictures/*.png")),
    }


class Process:
    """A command in a process of its own.

    Args:
        fresh: in an interpreter of its own; else in a fork of this one, which has imported the
            libraries already, which takes most of a small command's time.
    """

    def __init__(self, words: Sequence[str], output: Path, *more: str, fresh: bool) -> None:
        self.words = [*words, "--output", str(output), *more]
        self.code: int | None = None
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        if fresh:
            self._pid = subprocess.Popen(
                [sys.executable, "-m", "anamodiff", *self.words], stdout=subprocess.DEVNULL,
                stderr=self._said, env=os.environ | {"OMP_NUM_THREADS": "1"},
            ).pid  # fmt: skip
            return
        self._pid = os.fork()
        if self._pid == 0:
            os._exit(self._work())

    def _work(self) -> int:
        """Carry the command out, in the fork."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(self._said.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        return main(self.words)

    def ended(self) -> bool:
        """Whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended():
            os.kill(self._pid, number)

    def wait(self) -> str:
        """What it said on standard error until it ended."""
        limit = time.monotonic() + PATIENCE
        while not self.ended():
            if time.monotonic() > limit:
                self.send(signal.SIGKILL)
            time.sleep(0.01)
        self._said.seek(0)
        return self._said.read()


def whole_run(
    command: Command, output: Path, *, fresh: bool
) -> tuple[dict[str, str], tuple[float, float]]:
    """Digests of the results of a run left alone, and when its folder came and it ended."""
    began = time.monotonic()
    process = Process(command.words, output, fresh=fresh)
    while not process.ended() and not output.exists():
        time.sleep(0.01)
    first = time.monotonic() - began
    said = process.wait()
    if process.code:
        raise RuntimeError(f"the command fails by itself: {said}")
    return digests(command, output), (first, time.monotonic() - began)


def stop_and_resume(
    command: Command, output: Path, wanted: dict[str, str], times: tuple[float, float],
    number: signal.Signals, rng: random.Random, *, fresh: bool,
) -> Stop | None:  # fmt: skip
    """Stop a run at a random moment and resume it; None where it had ended before."""
    first, end = times
    # A fresh interpreter spends most of its time on importing.
    early = rng.random() < (0.6 if fresh else START)
    delay = rng.uniform(0, first) if early else rng.uniform(0, end - first)
    began = time.monotonic()
    process = Process(command.words, output, fresh=fresh)
    while not early and not process.ended() and not output.exists():
        time.sleep(0.005)
    time.sleep(delay)
    process.send(number)
    said = process.wait()
    seconds = time.monotonic() - began
    if process.code == 0:
        return None
    files = sum(path.is_file() for path in output.rglob("*")) if output.exists() else 0
    wrong = [_badly_stopped(process.code, said, number)]
    again = Process(command.words, output, "--resume", fresh=fresh)
    told = again.wait()
    if again.code:
        wrong.append(f"resuming ended with {again.code}: {told.strip()[-300:]}")
    else:
        found = digests(command, output)
        names = sorted(n for n in {**wanted, **found} if wanted.get(n) != found.get(n))
        wrong += [f"other {', '.join(names)}"] if names else []
        left = [path.name for path in output.rglob(".*") if path.name not in (".lock",)]
        wrong += [f"left behind {', '.join(left)}"] if left else []
    last = (said.strip().splitlines() or [""])[-1]
    return Stop(seconds, files, last, "; ".join(filter(None, wrong)))


def _badly_stopped(code: int | None, said: str, number: signal.Signals) -> str:
    """What is wrong with how a run ended; empty where nothing is."""
    if number == signal.SIGKILL:
        return "" if code == -signal.SIGKILL else f"ended with {code}"
    own = [line for line in said.splitlines() if line.startswith("anamodiff: stopped")]
    traced = "Traceback" in said or "Exception ignored" in said
    if code == 128 + number and len(own) == 1 and not traced:
        return ""
    return f"ended with {code} and said {said.strip()[-600:]!r}"


def digests(command: Command, output: Path) -> dict[str, str]:
    """SHA-256 of each result, by its name in the output folder."""
    paths = [path for pattern in command.results for path in output.glob(pattern)]
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }
