"""A transfer in a thread of its own, which tells how far it is and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from torch import Tensor

from anamodiff.run.unfinished import Unfinished

T = TypeVar("T")
THREAD = "anamodiff job"
PERIOD = 0.25  # seconds between two looks at a job
LOOKS = 0.8  # seconds between two decodings of what is unfinished, at least


class Stopped(Exception):
    """Raised inside of a job that is to stop."""


@dataclass(frozen=True, eq=False)
class Look:
    """Frames ``f 3 h w`` in [-1, 1] of a result after `done` steps of sampling."""

    done: int
    total: int
    frames: Tensor
    fps: float


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: what it does now.
        done, total: steps of the stage.
        seconds_left: of the stage; None where it is not known yet.
        look: the newest there is, if it was not told before.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None
    look: Look | None = None


class Job(Generic[T]):
    """Work in a thread.

    Args:
        work: gets the job, whose `progress` and `watch` it calls; where the job is to stop, these
            raise `Stopped`.
    """

    def __init__(self, work: Callable[[Job[T]], T]) -> None:
        self._work = work
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._now = Progress("reading the clips", 0, 0)
        self._began, self._looked = time.monotonic(), -LOOKS
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def progress(self, stage: str, done: int, total: int, loss: float | None = None) -> None:
        """Note how far a stage is; raises `Stopped` in a job that is to stop."""
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            now = time.monotonic()
            if stage != self._now.stage:
                self._began = now
            left = (now - self._began) / done * (total - done) if done else None
            self._now = Progress(stage, done, total, left, self._now.look)

    def watch(self, unfinished: Unfinished) -> None:
        """Decode what is unfinished for `follow`, unless that was done just now."""
        if time.monotonic() - self._looked < LOOKS or self._stop.is_set():
            return
        frames, fps = unfinished.frames(), unfinished.pair.fps
        with self._lock:
            look = Look(unfinished.done, unfinished.total, frames, fps)
            self._now = replace(self._now, look=look)
        self._looked = time.monotonic()

    def stop(self) -> None:
        """Stop the work at its next step."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def follow(self) -> Iterator[Progress]:
        """How far it is, whenever that has changed, until it ends."""
        last = None
        while self._thread.is_alive():
            with self._lock:
                now = self._now
                self._now = replace(now, look=None)
            if now != last:
                yield now
                last = replace(now, look=None)
            self._thread.join(PERIOD)

    def result(self) -> T:
        """What the work gave, once it has ended; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result  # pyright: ignore[reportReturnType]

    def _run(self) -> None:
        try:
            self._result = self._work(self)
        except BaseException as error:  # told by `result`
            self._error = error
