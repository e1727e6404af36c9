"""Progress bars and stage timings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def bar(show: bool, name: str, total: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar on stderr, moved by calling it with the steps done and a number to show."""
    # leave=None: a bar inside another one goes when it is full.
    with tqdm(total=total, desc=name, disable=not show, leave=None, ncols=80) as meter:

        def advance(done: int, value: float) -> None:
            if isinstance(value, float):
                meter.set_postfix(loss=f"{value:.3f}", refresh=False)
            meter.update(done - meter.n)

        yield advance


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Note how many seconds a stage takes."""
    began = time.perf_counter()
    yield
    timings[stage] = round(time.perf_counter() - began, 3)
