"""The tuning loop, run for each pair of source and driving clip (paper, section 3.4)."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from anamodiff.diffusion import Schedule, StepProgress, generator_of
from anamodiff.errors import AnaMoDiffError
from anamodiff.options import TuningOptions
from anamodiff.tuning.delayed_loss import DelayedLoss
from anamodiff.tuning.iteration import make_iteration
from anamodiff.tuning.loss import NoisyClip, draw_passes
from anamodiff.tuning.loss_terms import LossTerms
from anamodiff.tuning.optimiser import MasterWeights
from anamodiff.tuning.plateau import EVERY, has_plateaued, probe_loss
from anamodiff.unet3d.model import UNet3D

logger = logging.getLogger(__name__)


def tune(
    unet: UNet3D,
    source: Tensor,
    warped: Tensor,
    embedding: Tensor,
    schedule: Schedule,
    options: TuningOptions,
    *,
    seed: int,
    unseen: Tensor | None = None,
    terms: LossTerms | None = None,
    checkpoint: Path | None = None,
    progress: StepProgress | None = None,
) -> list[float]:
    """Train the LoRA and temporal weights of `unet` on one pair; returns the loss per iteration.

    With `options.plateau` there may be fewer than `options.iterations`. Every iteration has a seed
    of its own: a run resumed from `checkpoint` ends with the same weights as an uninterrupted one.

    Args:
        unet: inflated, with LoRA.
        source: `Z_S`, f c h w.
        warped: `Z_WI`, f c h w.
        embedding: the prompt's, 1 n d.
        schedule: the backbone's.
        seed: of timesteps, noise and windows.
        unseen: cells f h w of `warped` that the source does not show; `options.unseen_weight`.
        terms: gets both terms of the loss, iteration by iteration.
        checkpoint: file to write every `checkpoint_every` iterations and to resume from.
        progress: called with the number of iterations done and the last loss.

    Raises:
        AnaMoDiffError: the loss is not finite, or the checkpoint is of another run.
    """
    weights = MasterWeights(unet, options.lr, options.temporal_lr)
    terms = LossTerms() if terms is None else terms
    losses, probes, known = weights.resume(checkpoint)
    terms.begin(known, len(losses))
    clips = [NoisyClip(source, options.source_noise_min, options.source_noise_max)]
    if options.warped_weight > 0:
        cells = cell_weights(unseen, options.unseen_weight, warped.device)
        clips.append(
            NoisyClip(warped, options.noise_min, options.noise_max, options.warped_weight, cells)
        )
    unet.checkpoint_gradients(options.checkpoint_levels)
    unet.train()
    iterate = make_iteration(
        unet, weights, embedding, options, clip_weights=[clip.weight for clip in clips],
        left=options.iterations - len(losses),
    )  # fmt: skip
    pending: DelayedLoss | None = None

    def read_pending() -> None:
        if pending is not None:
            total, *parts = pending.read()
            losses.append(_finite(total, len(losses), options.lr))
            terms.add(*parts)
            if progress:
                progress(len(losses), losses[-1])

    for iteration in range(len(losses), options.iterations):
        if options.plateau > 0 and iteration % EVERY == 0:
            probes.append(
                probe_loss(
                    unet, clips[0], (*clips, None)[1], embedding, schedule, seed=seed,
                    window=options.window, clips_at_once=options.clips_at_once,
                )
            )  # fmt: skip
            if iteration >= options.iterations_min and has_plateaued(probes, options.plateau):
                logger.info("tuning: the loss no longer falls after %d iterations", iteration)
                break
        generator = generator_of(seed * 1_000_003 + iteration)
        windows = [clip.random_window(options.window, generator) for clip in clips]
        loss = iterate(
            draw_passes(windows, schedule, generator, clips_at_once=options.clips_at_once)
        )
        read_pending()  # while a GPU computes this iteration
        pending = DelayedLoss(loss)
        if checkpoint and (iteration + 1) % options.checkpoint_every == 0:
            read_pending()
            pending = None
            weights.save(checkpoint, losses, probes, terms.columns)
    read_pending()
    weights.write_back()
    unet.eval()
    return losses


def cell_weights(
    unseen: Tensor | None, weight: float, device: torch.device | str = "cpu"
) -> Tensor | None:
    """Weights f 1 h w of a clip's cells f h w: 1, and `weight` where they are unseen.

    None where all would be alike, or nothing would be left.
    """
    if unseen is None or weight == 1 or (weight == 0 and bool(unseen.all())):
        return None
    return torch.where(unseen, weight, 1.0)[:, None].to(device)


def _finite(loss: float, iteration: int, lr: float) -> float:
    """The loss.

    Raises:
        AnaMoDiffError: it is not finite.
    """
    if not math.isfinite(loss):
        raise AnaMoDiffError(
            f"the tuning loss is not a number at iteration {iteration}: lower tuning.lr "
            f"(now {lr:g}) or use --precision fp32"
        )
    return loss
