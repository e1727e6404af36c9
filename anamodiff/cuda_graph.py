"""Work on a CUDA device that is launched kernel by kernel at first, then replayed as a CUDA graph.

Launching the thousands of kernels of a UNet can take longer than running them. A graph has them
recorded, with the addresses of all tensors, and launches them at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

WARM_UP = 2  # calls before the one that records: libraries choose and load their kernels in them


class Recorder:
    """Records what functions launch on a CUDA device, on a stream of its own, as that demands."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run work on the stream on which it will be recorded."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            work()
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """A function that runs on the GPU what `work` launches, which does not run now."""
        graph = torch.cuda.CUDAGraph()
        # The outer context restores the stream where a recording fails.
        with torch.cuda.stream(self._stream), torch.cuda.graph(graph, stream=self._stream):
            work()
        return graph.replay


class GraphedCall:
    """A function of tensors, as a CUDA graph from its third call on.

    The first calls count: whatever state the function changes, it changes once a call. Where
    recording fails, one line says so, and all calls launch their kernels.

    Args:
        work: for tensors of the same shapes in every call, which it does not keep, computes on the
            device alone: it neither waits for it nor copies to or from it. A call that fails
            half-way must leave nothing that the next one could see.
        device: a CUDA device.
        stage: for the line.
    """

    def __init__(self, work: Callable[..., Any], device: torch.device, stage: str) -> None:
        self._work, self._stage = work, stage
        self._recorder: Recorder | None = Recorder(device)
        self._calls = 0
        self._inputs: list[Tensor] = []
        self._outputs: Any = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        """What `work` returns; the next call may write over it."""
        if self._recorder is None:
            return self._work(*inputs)
        if self._calls < WARM_UP:
            self._calls += 1
            self._recorder.warm_up(lambda: self._compute(*inputs))
            return self._outputs
        if self._replay is None:
            self._replay = self._record(self._recorder, inputs)
        if self._replay is None:
            return self._work(*inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._replay()
        return self._outputs

    def _record(self, recorder: Recorder, like: tuple[Tensor, ...]) -> Callable[[], None] | None:
        """The graph, which reads `_inputs` and writes `_outputs`; None where that fails."""
        self._inputs = [torch.empty_like(tensor) for tensor in like]
        try:
            return recorder.record(lambda: self._compute(*self._inputs))
        except RuntimeError as error:  # memory, or an operation that cannot be recorded
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            logger.warning("%s: no CUDA graph, launching kernels instead (%s)", self._stage, reason)
            self._recorder, self._inputs, self._outputs = None, [], None
            return None

    def _compute(self, *inputs: Tensor) -> None:
        self._outputs = self._work(*inputs)
