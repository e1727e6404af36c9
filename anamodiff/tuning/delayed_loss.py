"""Losses on their way from a GPU, read an iteration late so that the GPU never waits."""

from __future__ import annotations

import torch

from anamodiff.tuning.loss import DisentangledLoss


class DelayedLoss:
    """A loss and its terms, in one copy to main memory while the device computes on."""

    def __init__(self, loss: DisentangledLoss) -> None:
        terms = [loss.total, loss.source, *([] if loss.warped is None else [loss.warped])]
        together = torch.stack([term.detach().float() for term in terms])
        # Of a GPU's tensor, the copy is in pinned memory.
        self._copy = together.to("cpu", non_blocking=True)
        self._copied = torch.cuda.Event() if together.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def read(self) -> tuple[float, float, float | None]:
        """Total, source's and warped clip's term, the last None where it takes no part.

        Waits for the device to get this far, not for what was queued since.
        """
        if self._copied is not None:
            self._copied.synchronize()
        total, source, *warped = (float(value) for value in self._copy)
        return total, source, warped[0] if warped else None
