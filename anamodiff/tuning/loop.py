"""The tuning loop: one short run for each pair of source and driving clip."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.tuning import plateau
from anamodiff.tuning.loss import NoisyClip, disentangled_loss
from anamodiff.tuning.weights import Optimiser, Weights
from anamodiff.unet3d import CheckpointLevels, LoraBlocks, LoraLayers

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """Settings of the tuning (paper, section 3.4 and 4).

    Letters do better with `noise_min` 900. `warped_weight` 0 leaves the warped clip out.
    `optimiser` "adam" is the paper's; "muon" needs fewer iterations. `plateau` above 0 stops, after
    `iterations_min` at the earliest, as soon as ten iterations bring the loss down by less than
    this share. `checkpoint_levels` and `clips_at_once` trade time for memory and change nothing but
    rounding. Of longer clips than `window` frames an iteration sees so many: frame 0, and
    neighbours drawn by lot.
    """

    iterations: int = 250
    plateau: float = 0.0
    iterations_min: int = 40
    optimiser: Optimiser = "adam"
    lr: float = 5e-4
    rank: int = 16
    lora: LoraLayers = "attention"
    lora_blocks: LoraBlocks = "all"
    source_noise_min: int = 0
    source_noise_max: int = 1000
    noise_min: int = 850
    noise_max: int = 1000
    warped_weight: float = 1.0
    group_norm: str = "pooled"
    checkpoint_levels: CheckpointLevels = "none"
    clips_at_once: int = 2
    window: int = 10
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        for name in ("iterations", "iterations_min", "rank", "checkpoint_every"):
            _expect(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for low, high in (("source_noise_min", "source_noise_max"), ("noise_min", "noise_max")):
            first, stop = getattr(self, low), getattr(self, high)
            _expect(0 <= first < stop <= 1000, f"{low} and {high}", "0 <= min < max <= 1000",
                    f"{first} and {stop}")  # fmt: skip
        words = {
            "optimiser": Optimiser, "lora": LoraLayers, "lora_blocks": LoraBlocks,
            "checkpoint_levels": CheckpointLevels,
        }  # fmt: skip
        for name, kind in words.items():
            got, known = getattr(self, name), get_args(kind)
            _expect(got in known, name, f"among {known}", repr(got))
        _expect(self.clips_at_once in (1, 2), "clips_at_once", "1 or 2", self.clips_at_once)
        _expect(0 <= self.plateau < 1, "plateau", "from 0 to below 1", self.plateau)
        _expect(self.window >= 2, "window", "at least 2", self.window)
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

    There may be fewer than `options.iterations`, if `options.plateau` says so.

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
    weights = Weights(unet, options.optimiser, options.lr)
    losses, looks = weights.resume(checkpoint)
    source_clip = NoisyClip(source, options.source_noise_min, options.source_noise_max)
    warped_clip = None
    if options.warped_weight > 0:
        warped_clip = NoisyClip(warped, options.noise_min, options.noise_max, options.warped_weight)
    unet.checkpoint_gradients(options.checkpoint_levels)
    unet.train()
    for iteration in range(len(losses), options.iterations):
        if options.plateau > 0 and iteration % plateau.EVERY == 0:
            looks.append(
                plateau.look(
                    unet, source_clip, warped_clip, embedding, schedule, seed=seed,
                    window=options.window, clips_at_once=options.clips_at_once,
                )
            )  # fmt: skip
            if iteration >= options.iterations_min and plateau.looks_flat(looks, options.plateau):
                log.info("tuning: the loss no longer falls after %d iterations", iteration)
                break
        generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
        source_seen, warped_seen = (
            clip and clip.seen(options.window, generator) for clip in (source_clip, warped_clip)
        )
        loss = disentangled_loss(
            unet, source_seen, warped_seen, embedding, schedule, generator,
            clips_at_once=options.clips_at_once, backward=weights.backward,
        )  # fmt: skip
        value = loss.total.item()  # a GPU is waited for here, once an iteration
        if not math.isfinite(value):
            raise AnaMoDiffError(
                f"the tuning loss is not a number at iteration {iteration}: lower tuning.lr "
                f"(now {options.lr:g}) or use --precision fp32"
            )
        weights.step()
        losses.append(value)
        if checkpoint and len(losses) % options.checkpoint_every == 0:
            weights.save(checkpoint, losses, looks)
        if progress:
            progress(len(losses), losses[-1])
    weights.release()
    unet.eval()
    return losses


def _expect(fine: bool, name: str, expected: str, got: object) -> None:
    if not fine:
        raise AnaMoDiffError(f"expected tuning.{name} {expected}, got {got}")
