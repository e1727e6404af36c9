"""Progress bars and stage timings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from tqdm.auto import tqdm

from anamodiff.meter import Lines, meter
from anamodiff.pipeline import Progress


class ProgressBars:
    """A progress bar, or lines of a log, for each stage, one after the other; a `Progress`.

    Args:
        progress: whether to show bars, or a function that is called in their place.
    """

    def __init__(self, progress: bool | Progress) -> None:
        self._progress = progress
        self._stage = ""
        self._bar: tqdm | Lines | None = None

    def __call__(self, stage: str, done: int, total: int, loss: float | None) -> None:
        """Show that `done` of a stage's `total` steps are done."""
        if not isinstance(self._progress, bool):
            self._progress(stage, done, total, loss)
            return
        if self._bar is None or stage != self._stage:
            self.close()
            # leave=None: a bar inside another one goes when it is full.
            self._bar = meter(stage, total, shown=self._progress, leave=None)
            self._stage = stage
        if loss is not None:
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Leave the last bar as it stands."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Note how many seconds a stage takes."""
    began = time.perf_counter()
    yield
    timings[stage] = round(time.perf_counter() - began, 3)
