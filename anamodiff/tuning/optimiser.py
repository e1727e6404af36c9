"""Mixed-precision tuning: single-precision master weights, their optimiser and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anamodiff.errors import AnaMoDiffError, one_line
from anamodiff.resources import move_into_place
from anamodiff.tensors import read_tensors
from anamodiff.unet3d.lora import is_temporal, trainable_parameters
from anamodiff.unet3d.model import UNet3D


class MasterWeights:
    """Trained parameters of a UNet, their master copies in single precision, and the optimiser.

    Small updates would vanish in half precision. There, the optimiser updates single-precision
    copies of the trained parameters only, which are rounded back into the UNet: unlike with
    autocast, every activation is in half precision, and tuning computes what sampling will. In
    fp16, gradients are scaled so that they do not underflow. In single precision, parameters are
    their own masters.

    Args:
        unet: with LoRA, or other parameters that are trained.
        lr: learning rate.
        temporal_lr: that of `attn_temp` and `norm_temp`, as a multiple of `lr`.
    """

    def __init__(self, unet: UNet3D, lr: float, temporal_lr: float = 1.0) -> None:
        self.parameters = trainable_parameters(unet)
        single = unet.dtype == torch.float32
        self.masters = [(name, p if single else _single(p)) for name, p in self.parameters]
        for _, parameter in self.parameters:  # in single precision after an earlier tuning
            parameter.data = parameter.data.to(unet.dtype)
        self.optimiser = _adam(self.masters, lr, temporal_lr)
        half = unet.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(unet.device.type, enabled=half)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:
        """Update the weights with the accumulated gradients, and clear these."""
        self._allow_recording()
        for (_, parameter), (_, master) in zip(self.parameters, self.masters, strict=True):
            if master is not parameter and parameter.grad is not None:
                master.grad, parameter.grad = parameter.grad.float(), None
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.clear_gradients()
        self._copy_to_unet()

    def clear_gradients(self) -> None:
        """Remove what was accumulated."""
        for (_, parameter), (_, master) in zip(self.parameters, self.masters, strict=True):
            parameter.grad = master.grad = None

    def write_back(self) -> None:
        """Give the UNet the weights in single precision, for saving."""
        for (_, parameter), (_, master) in zip(self.parameters, self.masters, strict=True):
            parameter.data = master.data

    def save(
        self, path: Path, losses: list[float], probes: list[float],
        terms: Mapping[str, Sequence[float | None]],
    ) -> None:  # fmt: skip
        """Write a checkpoint, atomically.

        Raises:
            AnaMoDiffError: it cannot be written; the one before it stays.
        """
        state = {
            "weights": {name: master.detach() for name, master in self.masters},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "losses": losses,
            "terms": dict(terms),
            "looks": probes,  # the name in older checkpoints
        }
        temporary = path.with_suffix(".tmp")
        try:
            torch.save(state, temporary)
            move_into_place(temporary, path)
        except (OSError, RuntimeError) as error:  # torch's own is a RuntimeError
            reason = one_line(str(error))
            raise AnaMoDiffError(
                f"expected to write a checkpoint to {path}, got: {reason}: free some space and add "
                "--resume; the checkpoint before it is kept"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)

    def resume(
        self, path: Path | None
    ) -> tuple[list[float], list[float], dict[str, list[float | None]]]:
        """Load a checkpoint; returns its losses, probes and loss terms, empty if there is none.

        Raises:
            AnaMoDiffError: the checkpoint is broken, of other weights or another precision.
        """
        if path is None or not path.is_file():
            return [], [], {}
        state = _read(path)
        if set(state["weights"]) != {name for name, _ in self.masters}:
            raise AnaMoDiffError(
                f"expected a checkpoint of this run's weights, got another's in {path}: "
                "name another output folder, or leave out --resume"
            )
        if bool(state["scaler"]) != self.scaler.is_enabled():
            wanted, was = ("fp16", "another precision")[:: 1 if self.scaler.is_enabled() else -1]
            raise AnaMoDiffError(
                f"expected a checkpoint tuned in {wanted}, as this run is, got one tuned in {was} "
                f"in {path}: resume with the --precision that the run began with"
            )
        with torch.no_grad():
            for name, master in self.masters:
                master.copy_(state["weights"][name])
        self._copy_to_unet()
        groups = self.optimiser.state_dict()["param_groups"]
        for saved, own in zip(state["optimiser"]["param_groups"], groups, strict=True):
            # Adam's kernels, and where it counts its steps, are this device's.
            saved.update({name: own[name] for name in ("fused", "foreach", "capturable")})
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        # Checkpoints of before terms were recorded have none.
        return list(state["losses"]), list(state.get("looks", [])), dict(state.get("terms", {}))

    def _allow_recording(self) -> None:
        """Tell Adam while a CUDA graph records it; the fused one computes the same either way."""
        device = self.masters[0][1].device.type
        recording = device == "cuda" and torch.cuda.is_current_stream_capturing()
        for group in self.optimiser.param_groups:
            group["capturable"] = recording

    @torch.no_grad()
    def _copy_to_unet(self) -> None:
        for (_, parameter), (_, master) in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's content, as far as it can be told to be one."""
    try:
        state = read_tensors(path)
        if not {"weights", "optimiser", "scaler", "losses"} <= set(state):
            raise KeyError("weights")
    except Exception as error:  # torch raises a dozen types for broken and for unsafe files
        raise AnaMoDiffError(
            f"expected a whole checkpoint in {path}, got one that is broken or holds more than "
            f"tensors ({type(error).__name__}): delete it, and --resume tunes anew"
        ) from error
    return state


def _single(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().float())


def _adam(named: list[tuple[str, nn.Parameter]], lr: float, temporal_lr: float) -> torch.optim.Adam:
    """Adam on named parameters, those of the temporal attention with a rate of their own."""
    temporal = {name for name, _ in named if is_temporal(name)}
    groups = [
        {"params": [p for name, p in named if name not in temporal], "lr": lr},
        {"params": [p for name, p in named if name in temporal], "lr": temporal_lr * lr},
    ]
    # One fused kernel where there is one, else torch's choice.
    fused = named[0][1].device.type in ("cpu", "cuda") or None
    return torch.optim.Adam(groups, lr=lr, fused=fused)
