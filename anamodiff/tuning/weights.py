"""The weights that tuning moves: in single precision, whatever the UNet computes in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError
from anamodiff.muon import MuonAdamW
from anamodiff.unet3d import trainable_parameters

Optimiser = Literal["adam", "muon"]


class Weights:
    """What of a UNet is trained, its optimiser, and its states on disk.

    Small steps would vanish in half precision. There, the optimiser moves single-precision copies
    of the trained parameters alone, and the UNet gets them back rounded: unlike autocast, this
    keeps every activation in half precision, and computes what sampling will compute. In fp16,
    gradients are scaled so that they do not vanish.
    """

    def __init__(self, unet: nn.Module, optimiser: Optimiser, lr: float) -> None:
        self.own = trainable_parameters(unet)
        single = unet.dtype == torch.float32
        self.moved = [(name, p if single else _copy(p)) for name, p in self.own]
        for _, own in self.own:  # single, where they were tuned before
            own.data = own.data.to(unet.dtype)
        self.optimiser = _optimiser(self.moved, optimiser, lr)
        half = unet.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(unet.device.type, enabled=half)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:
        """Move the weights along the accumulated gradients, and forget those."""
        for (_, own), (_, moved) in zip(self.own, self.moved, strict=True):
            if moved is not own and own.grad is not None:
                moved.grad, own.grad = own.grad.float(), None
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self._publish()

    def release(self) -> None:
        """Leave the weights to the UNet in single precision, for saving."""
        for (_, own), (_, moved) in zip(self.own, self.moved, strict=True):
            own.data = moved.data

    def save(self, path: Path, losses: list[float], looks: list[float]) -> None:
        """Write atomically: a kill leaves the last whole state."""
        state = {
            "weights": {name: moved.detach() for name, moved in self.moved},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "losses": losses,
            "looks": looks,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def resume(self, path: Path | None) -> tuple[list[float], list[float]]:
        """Load a state in place; returns losses and looks so far, none where there is no state.

        Raises:
            AnaMoDiffError: the state is of other weights.
        """
        if path is None or not path.is_file():
            return [], []
        state = torch.load(path, map_location="cpu", weights_only=True)
        if set(state["weights"]) != {name for name, _ in self.moved}:
            raise AnaMoDiffError(
                f"expected a checkpoint of this run's weights, got another's in {path}: "
                "name another output folder, or leave out --resume"
            )
        with torch.no_grad():
            for name, moved in self.moved:
                moved.copy_(state["weights"][name])
        self._publish()
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        return list(state["losses"]), list(state.get("looks", []))

    @torch.no_grad()
    def _publish(self) -> None:
        for (_, own), (_, moved) in zip(self.own, self.moved, strict=True):
            if moved is not own:
                own.copy_(moved)


def _copy(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().float())


def _optimiser(
    named: list[tuple[str, nn.Parameter]], kind: Optimiser, lr: float
) -> torch.optim.Optimizer | MuonAdamW:
    if kind == "muon":
        return MuonAdamW([{"params": named}], lr=lr, ends=())
    parameters = [parameter for _, parameter in named]
    # One kernel for all, where there is one; else what torch chooses.
    fused = parameters[0].device.type in ("cpu", "cuda") or None
    return torch.optim.Adam(parameters, lr=lr, fused=fused)
