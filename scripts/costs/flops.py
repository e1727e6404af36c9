"""Floating-point operations of each stage, a multiply-add as two."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from anamodiff.tuning.loss import NoisyClip, disentangled_loss
from costs.models import SCHEDULE, Architecture, flash_attention

# The paper's experiment.
ITERATIONS, CLIPS, STEPS = 250, 2, 50


def count(run: Callable[[], Any]) -> int:
    """Operations of `run`, backward passes included."""
    with FlopCounterMode(display=False) as counter, flash_attention():
        run()
    return counter.get_total_flops()


@cache
@torch.no_grad()
def forward(size: Architecture, *, clips: int = 1, frames: int | None = None) -> int:
    """The UNet on some clips."""
    unet, latents = size.make_unet(), size.clips(clips, frames)
    return count(lambda: unet(latents, 500, size.embedding(clips)))


def guided_step(size: Architecture) -> int:
    """A step of sampling with guidance: the prompt's prediction and the empty one's."""
    return forward(size, clips=2)


def inversion_step(size: Architecture) -> int:
    """A step of inversion, of one frame."""
    return forward(size, frames=1)


@cache
def training(size: Architecture, *, levels: str, frames: int | None = None, **lora: Any) -> int:
    """Forward and backward of one clip or its window; `lora` are settings of `add_lora`."""
    unet = size.make_unet(**{"rank": 16, **lora}).train()
    unet.checkpoint_gradients(levels)
    clip, generator = NoisyClip(size.latents(frames), 0, 1000), torch.Generator()
    return count(
        lambda: disentangled_loss(
            unet, clip, None, size.embedding(), SCHEDULE, generator, backward=torch.Tensor.backward
        )
    )


@cache
@torch.no_grad()
def encoding(size: Architecture) -> int:
    """The autoencoder's encoder on one frame."""
    vae = size.make_vae()
    return count(lambda: vae.encode(size.pictures(1)))


@cache
@torch.no_grad()
def decoding(size: Architecture) -> int:
    """The autoencoder's decoder on one frame."""
    vae = size.make_vae()
    return count(lambda: vae.decode(size.clips(1, 1)[:, :, 0].to(size.dtype)))


def experiment(size: Architecture, levels: str = "none") -> int:
    """The paper's experiment: tuning, inversion, sampling, and the autoencoder; without LOFNet.

    The source is encoded; the warped intermediate and the result are decoded.
    """
    tuning = ITERATIONS * CLIPS * training(size, levels=levels)
    generation = STEPS * (inversion_step(size) + guided_step(size))
    return tuning + generation + size.frames * (encoding(size) + 2 * decoding(size))
