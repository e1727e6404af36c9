"""Early stopping: keeps the best weights and stops when measurements no longer improve."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn


class EarlyStop:
    """Keeps the weights of the best measurement.

    Args:
        patience: measurements without improvement after which training stops; None never stops,
            and keeps no weights.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best = math.inf
        self.step = 0
        self.stale = 0
        self.weights: dict[str, Tensor] | None = None

    @property
    def should_stop(self) -> bool:
        return self.patience is not None and self.stale >= self.patience

    def record(self, value: float, step: int, model: nn.Module) -> None:
        """Record a measurement of `model` at `step`: lower is better, NaN is no improvement."""
        if self.patience is None:
            return
        self.stale += 1
        if value < self.best:
            self.best, self.step, self.stale = value, step, 0
            self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "step", "stale", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
