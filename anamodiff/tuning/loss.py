"""The disentangled denoising loss (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from anamodiff.diffusion import Schedule, add_noise, normal_like, training_target


@dataclass(frozen=True)
class NoisyClip:
    """A clip of latents f c h w, the timesteps [first, stop) it is noised to, and its weight."""

    latents: Tensor
    first: int
    stop: int
    weight: float = 1.0


@dataclass(frozen=True)
class DisentangledLoss:
    """D = D_S + weight D_W, and its terms before weighting, all 0-d."""

    total: Tensor
    source: Tensor
    warped: Tensor | None


def disentangled_loss(
    unet: nn.Module,
    source: NoisyClip,
    warped: NoisyClip | None,
    embedding: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> DisentangledLoss:
    """Noise-prediction error on the source and on the warped clip, each in its own noise range.

    High noise teaches pose and motion, low noise identity: the warped clip's range keeps the
    artifacts of the warp out of the low-noise part.

    Args:
        unet: an inflated UNet.
        source: `Z_S`; one frame where the source is a picture.
        warped: `Z_WI`, or None for the ablation without it.
        embedding: the prompt's, 1 n d.
        schedule: the backbone's.
        generator: draws one timestep a clip, and the noise.
    """
    clips = [source] if warped is None else [source, warped]
    if len({len(clip.latents) for clip in clips}) == 1:
        errors = _errors(unet, clips, embedding, schedule, generator)
    else:  # a picture beside a clip: batching would mean repeating the picture
        errors = [_errors(unet, [clip], embedding, schedule, generator)[0] for clip in clips]
    total = sum(clip.weight * error for clip, error in zip(clips, errors, strict=True))
    return DisentangledLoss(total, errors[0], None if warped is None else errors[1])


def _errors(
    unet: nn.Module,
    clips: Sequence[NoisyClip],
    embedding: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error (b,) of the prediction in clips of equal length, in one batch."""
    clean = rearrange([clip.latents for clip in clips], "b f c h w -> b c f h w")
    t = torch.cat(
        [torch.randint(clip.first, clip.stop, (1,), generator=generator) for clip in clips]
    ).to(clean.device)
    noise = normal_like(clean, generator)
    noisy = add_noise(schedule, clean, noise, t)
    predicted = unet(noisy, t, encoder_hidden_states=embedding.expand(len(clips), -1, -1)).sample
    error = predicted.float() - training_target(schedule, clean, noise, t)
    return error.square().mean(dim=(1, 2, 3, 4))
