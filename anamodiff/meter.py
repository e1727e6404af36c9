"""How far something is: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, ClassVar

from tqdm.auto import tqdm

EVERY = 30.0  # seconds between two lines
SHORT = 5.0  # seconds of what needs no line when it is done


def is_log() -> bool:
    """Whether stderr is a file or a pipe, in which a bar would be one long line."""
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    return not in_notebook and not sys.stderr.isatty()


def meter(
    name: str, total: int, *, unit: str = "step", done: int = 0, shown: bool = True, **bar: Any
) -> tqdm | Lines:
    """Counts up to `total`; used in a `with`, or closed.

    Args:
        done: how many were done before.
        shown: whether anything is to be seen.
        bar: further arguments of tqdm.
    """
    if shown and is_log():
        return Lines(name, total, unit, done)
    # A notebook would read a number of columns as pixels.
    return tqdm(
        total=total, desc=name, unit=unit, initial=done, disable=not shown, dynamic_ncols=True,
        **bar,
    )  # fmt: skip


class Lines:
    """Lines on stderr: at the beginning, at the end, and every half minute between.

    Inside another one that counts larger things, only those between.
    """

    _open: ClassVar[int] = 0

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        self.n, self._first = done, done
        self._name, self._total, self._figures = name, total, ""
        self._inside = Lines._open > 0
        self._began = self._told = time.monotonic()
        self._closed = False
        Lines._open += 1
        if not self._inside:
            many = unit if total == 1 else f"{unit}s"
            before = f", {done} of them done before" if done else ""
            self._print(f"{total} {many}{before}")

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.n += count
        now = time.monotonic()
        if count and self.n < self._total and now - self._told >= EVERY:
            self._told = now
            left = (now - self._began) * (self._total - self.n) / (self.n - self._first)
            self._print(f"{self._share}, about {_duration(left)} left{self._figures}")

    def set_postfix(self, refresh: bool = True, **figures: object) -> None:
        """What to print behind the count."""
        self._figures = "".join(f", {name} {value}" for name, value in figures.items())

    def close(self) -> None:
        """Say how far it came."""
        if self._closed:
            return
        self._closed = True
        Lines._open -= 1
        if not self._inside and time.monotonic() - self._began >= SHORT:
            self._print(f"{self._share}{self._figures}")

    @property
    def _share(self) -> str:
        took = _duration(time.monotonic() - self._began)
        return f"{self.n} of {self._total} after {took}"

    def _print(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _duration(seconds: float) -> str:
    """Seconds up to two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
