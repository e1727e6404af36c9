"""In place of CUDA graphs where there is no such device: what is recorded runs when replayed."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from anamodiff import cuda_graph


class FakeRecorder:
    """Notes what a `GraphedCall` asks for; a replay runs the work on what its inputs contain."""

    def __init__(
        self, fail: Callable[[], None] | None, around: Callable[[], AbstractContextManager]
    ) -> None:
        self.fail, self.around = fail, around
        self.asked: list[str] = []

    def warm_up(self, work: Callable[[], None]) -> None:
        self.asked.append("warm up")
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.asked.append("record")
        if self.fail is not None:
            self.fail()
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

        def replay() -> None:
            self.asked.append("replay")
            with self.around():
                work()

        return replay


def fake_recorders(
    patch: pytest.MonkeyPatch,
    fail: Callable[[], None] | None = None,
    around: Callable[[], AbstractContextManager] = nullcontext,
) -> list[FakeRecorder]:
    """Let graphs be recorded by fakes; returns those that come to be made.

    Args:
        fail: what a recording that runs out of memory leaves behind; None lets all succeed.
        around: what is recorded runs in such a context.
    """
    made: list[FakeRecorder] = []

    def make(*_: object) -> FakeRecorder:
        made.append(FakeRecorder(fail, around))
        return made[-1]

    patch.setattr(cuda_graph, "Recorder", make)
    return made
