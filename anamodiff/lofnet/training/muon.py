"""Muon for convolutions and matrices, AdamW for the rest.

Muon's update is the orthogonalised momentum. `torch.optim.Muon` takes matrices only, no
convolutions, and computes in bfloat16, which on CPUs without units for it is 17 to 25 times slower.
The mini backbone's weights were trained with this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Newton-Schulz iteration: so many rounds of this polynomial bring singular values near 1.
_POLYNOMIAL, _ROUNDS = (3.4445, -4.7750, 2.0315), 5
_ADAM_RMS = 0.2  # root mean square of AdamW's updates, in learning rates


def orthogonalise(matrix: Tensor) -> Tensor:
    """The matrix with the singular vectors of `matrix`, ``m n``, and singular values near 1."""
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    a, b, c = _POLYNOMIAL
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Muon on weights of two or more dimensions, flattened to matrices of the first by the rest.

    Updates are scaled to the root mean square of AdamW's, so that both have one learning rate.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(average, group["momentum"]).flatten(1)
                update = orthogonalise(ahead).view_as(parameter)
                scale = _ADAM_RMS * max(ahead.shape) ** 0.5
                parameter.add_(update, alpha=-group["lr"] * scale)


class MuonAdamW:
    """Muon for hidden weights, AdamW for first and last layers, norms and biases.

    Args:
        groups: parameter groups with named parameters: ``{"params": [(name, tensor)]}``.
        ends: parts of the names of first and last layers.
        betas, weight_decay: AdamW's.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        ends: tuple[str, ...],
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        def chosen(hidden: bool) -> Iterator[dict[str, Any]]:
            for group in groups:
                named = group["params"]
                yield {**group, "params": [p for n, p in named if _hidden(n, p, ends) == hidden]}

        adamw = torch.optim.AdamW(chosen(False), lr=lr, betas=betas, weight_decay=weight_decay)
        self.parts = [Muon(chosen(True), lr), adamw]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both optimisers, whose ``lr`` may be set."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def _hidden(name: str, parameter: nn.Parameter, ends: tuple[str, ...]) -> bool:
    return parameter.ndim > 1 and not any(end in name for end in ends)
