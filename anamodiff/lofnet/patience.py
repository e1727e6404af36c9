"""Early stop: the weights that did best on unseen clips, and when to give up on better ones."""

import math
from typing import Any

from torch import Tensor, nn


class Patience:
    """Keeps the best weights and counts the measures since.

    Args:
        allowed: measures without an improvement after which training stops; none never stops,
            and then nothing is kept.
    """

    def __init__(self, allowed: int | None) -> None:
        self.allowed = allowed
        self.best = math.inf
        self.step = 0
        self.stale = 0
        self.weights: dict[str, Tensor] | None = None

    @property
    def spent(self) -> bool:
        """Whether training should stop."""
        return self.allowed is not None and self.stale >= self.allowed

    def see(self, ratio: float, step: int, model: nn.Module) -> None:
        """Note a measure: lower is better, NaN is no improvement."""
        if self.allowed is None:
            return
        self.stale += 1
        if ratio < self.best:
            self.best, self.step, self.stale = ratio, step, 0
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes up again."""
        names = ("best", "step", "stale", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another one was."""
        for name, value in state.items():
            setattr(self, name, value)
