"""Losses on their way from a GPU, read an iteration late so that the GPU never waits."""

from __future__ import annotations

import torch
from torch import Tensor


class DelayedLoss:
    """A 0-d loss, copied to main memory while the device computes on."""

    def __init__(self, loss: Tensor) -> None:
        # Of a GPU's tensor, the copy is in pinned memory.
        self._copy = loss.detach().to("cpu", non_blocking=True)
        self._copied = torch.cuda.Event() if loss.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def read(self) -> float:
        """The loss; waits for the device to get this far, not for what was queued since."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._copy)
