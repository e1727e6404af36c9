"""The noise that denoising starts from: the source frames' own, warped (paper, section 3.5)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from anamodiff.diffusion import Schedule, StepProgress, add_noise, noise_in, normal_like
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.sampling import KnownCells
from anamodiff.options import GenerationOptions
from anamodiff.unet3d.model import UNet3D
from anamodiff.warp import warp_noise


def warped_noise(
    unet: UNet3D,
    latents: Tensor,
    frames: Tensor,
    flow: Tensor,
    options: GenerationOptions,
    *,
    embedding: Tensor,
    schedule: Schedule,
    start: int,
    generator: torch.Generator | None = None,
    unseen: Tensor | None = None,
    progress: StepProgress | None = None,
) -> Tensor:
    """Invert the source frames that are warped, each by itself, and warp their noise.

    Args:
        unet: tuned.
        latents: clean ones of the source, ``s c h w``.
        frames: the source frame ``f`` that each frame is warped from.
        flow: ``f h w 2``.
        embedding: the prompt's, ``1 n d``.
        start: number of the sampling step to begin at; 0 is pure noise.
        generator: of fresh noise.
        unseen: cells ``f h w`` that are fresh noise, because the source shows nothing of them.

    Returns:
        Noise ``f c h w``.
    """
    device = latents.device
    # Numbers of frames stay on the CPU: a GPU is not to be waited for.
    used, which = (x.tolist() for x in frames.cpu().unique(return_inverse=True))
    clean = torch.stack([latents[number] for number in used])[:, :, None]
    timestep = int(schedule.timesteps(options.steps)[start])
    inverted = ddim_invert(
        unet, clean, embedding=embedding.expand(len(used), -1, -1), schedule=schedule,
        steps=options.steps, until=timestep,
        cuda_graph=options.cuda_graph and device.type == "cuda", progress=progress,
    )  # fmt: skip
    # Started below pure noise, what is warped is the noise that the path had there: denoised
    # again it leads back to the source's details, which other noise would replace.
    noise = noise_in(schedule, inverted, clean, timestep) if start else inverted
    own = torch.stack([noise[number, :, 0] for number in which])
    noise = warp_noise(
        own, flow.to(own), mode=options.noise_warp, weight=options.noise_weight,
        generator=generator,
    )  # fmt: skip
    if unseen is None:
        return noise
    return torch.where(unseen[:, None].to(device), normal_like(noise, generator), noise)


def starting_latents(
    schedule: Schedule,
    warped: Tensor,
    noise: Tensor,
    options: GenerationOptions,
    unseen: Tensor | None = None,
) -> tuple[Tensor, int, KnownCells | None]:
    """What sampling starts from: noise, or the warped clip noised to `options.denoise_from`.

    Args:
        warped: `Z_WI`, ``f c h w``.
        noise: of `warped_noise`, ``f c h w``.
        unseen: cells ``f h w`` that are denoised from `options.unseen_from`.

    Returns:
        Latents ``1 c f h w``, the number of the sampling step to begin at, and the cells that
        follow the warped clip until its own step.
    """
    clean, noise = (rearrange(x, "f c h w -> 1 c f h w") for x in (warped, noise))
    start = schedule.start(options.steps, options.denoise_from)
    if start == 0:
        return noise, 0, None
    known = None
    if options.unseen_from is not None and unseen is not None:
        seen = ~unseen.to(clean.device)[None, None]
        known = KnownCells(seen, clean, noise, until=start)
        start = min(start, schedule.start(options.steps, options.unseen_from))
    timestep = int(schedule.timesteps(options.steps)[start])
    return add_noise(schedule, clean, noise, timestep), start, known
