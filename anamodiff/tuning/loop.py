"""The tuning loop: one short run for each pair of source and driving clip."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.muon import MuonAdamW
from anamodiff.tuning.loss import NoisyClip, disentangled_loss
from anamodiff.unet3d import LoraLayers, trainable_parameters

Optimiser = Literal["adam", "muon"]


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """Settings of the tuning (paper, section 3.4 and 4).

    Letters do better with `noise_min` 900. `warped_weight` 0 leaves the warped clip out.
    `optimiser` "adam" is the paper's; "muon" needs fewer iterations.
    """

    iterations: int = 250
    optimiser: Optimiser = "adam"
    lr: float = 5e-4
    rank: int = 16
    lora: LoraLayers = "attention"
    source_noise_min: int = 0
    source_noise_max: int = 1000
    noise_min: int = 850
    noise_max: int = 1000
    warped_weight: float = 1.0
    group_norm: str = "pooled"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        for name in ("iterations", "rank", "checkpoint_every"):
            _expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for low, high in (("source_noise_min", "source_noise_max"), ("noise_min", "noise_max")):
            first, stop = getattr(self, low), getattr(self, high)
            _expect(0 <= first < stop <= 1000, f"{low} and {high}", "0 <= min < max <= 1000",
                    f"{first} and {stop}")  # fmt: skip
        known = get_args(Optimiser)
        _expect(self.optimiser in known, "optimiser", f"among {known}", repr(self.optimiser))
        _expect(self.lr > 0, "lr", "above 0", self.lr)
        _expect(self.warped_weight >= 0, "warped_weight", "0 or more", self.warped_weight)


def tune(
    unet: nn.Module,
    source: Tensor,
    warped: Tensor,
    embedding: Tensor,
    schedule: Schedule,
    options: TuningOptions,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Fit the LoRA and temporal weights of `unet` to one pair; returns the loss per iteration.

    Every iteration draws from its own seed, so a run that was killed and goes on from `checkpoint`
    ends with the same weights as one that was not.

    Args:
        unet: inflated, with LoRA.
        source: `Z_S`, f c h w.
        warped: `Z_WI`, f c h w.
        embedding: the prompt's, 1 n d.
        schedule: the backbone's.
        seed: fixes timesteps and noise.
        checkpoint: file to write every `checkpoint_every` iterations and to resume from.
        progress: called with iterations done and the last loss.

    Raises:
        AnaMoDiffError: the loss is no longer a number, or the checkpoint is of another run.
    """
    named = trainable_parameters(unet)
    half = unet.dtype != torch.float32
    for _, parameter in named:  # Adam's small steps would vanish in half precision
        parameter.data = parameter.data.float()
    optimiser = _optimiser(named, options)
    losses = _resume(checkpoint, named, optimiser)
    source_clip = NoisyClip(source, options.source_noise_min, options.source_noise_max)
    warped_clip = None
    if options.warped_weight > 0:
        warped_clip = NoisyClip(warped, options.noise_min, options.noise_max, options.warped_weight)
    if options.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    unet.train()
    for iteration in range(len(losses), options.iterations):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
        with torch.autocast(source.device.type, unet.dtype, enabled=half):
            loss = disentangled_loss(unet, source_clip, warped_clip, embedding, schedule, generator)
        if not torch.isfinite(loss.total):
            raise AnaMoDiffError(
                f"the tuning loss is not a number at iteration {iteration}: lower tuning.lr "
                f"(now {options.lr:g}) or use --precision fp32"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.total.backward()
        optimiser.step()
        losses.append(loss.total.item())
        if checkpoint and len(losses) % options.checkpoint_every == 0:
            _save(checkpoint, named, optimiser, losses)
        if progress:
            progress(len(losses), losses[-1])
    unet.eval()
    return losses


def _optimiser(
    named: list[tuple[str, nn.Parameter]], options: TuningOptions
) -> torch.optim.Optimizer | MuonAdamW:
    if options.optimiser == "muon":
        return MuonAdamW([{"params": named}], lr=options.lr, ends=())
    return torch.optim.Adam([parameter for _, parameter in named], lr=options.lr)


def _save(
    path: Path, named: list[tuple[str, nn.Parameter]],
    optimiser: torch.optim.Optimizer | MuonAdamW, losses: list[float],
) -> None:  # fmt: skip
    """Write atomically: a kill leaves the last whole checkpoint."""
    state = {
        "weights": {name: parameter.detach() for name, parameter in named},
        "optimiser": optimiser.state_dict(),
        "losses": losses,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _resume(
    path: Path | None, named: list[tuple[str, nn.Parameter]],
    optimiser: torch.optim.Optimizer | MuonAdamW,
) -> list[float]:  # fmt: skip
    """Load a checkpoint in place; returns the losses so far, none where there is no checkpoint."""
    if path is None or not path.is_file():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    if set(state["weights"]) != {name for name, _ in named}:
        raise AnaMoDiffError(
            f"expected a checkpoint of this run's weights, got another's in {path}: "
            "name another output folder, or leave out --resume"
        )
    with torch.no_grad():
        for name, parameter in named:
            parameter.copy_(state["weights"][name])
    optimiser.load_state_dict(state["optimiser"])
    return list(state["losses"])


def _expect(fine: bool, name: str, expected: str, got: object) -> None:
    if not fine:
        raise AnaMoDiffError(f"expected tuning.{name} {expected}, got {got}")
