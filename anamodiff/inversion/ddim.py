"""DDIM inversion: which noise would the sampler turn into this clip?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anamodiff.diffusion import Schedule, ddim_inverse_step, to_epsilon
from anamodiff.unet3d import Past, UNet3D

Progress = Callable[[int, int], None]


@torch.no_grad()
def ddim_invert(
    unet: UNet3D,
    latents: Tensor,
    *,
    embedding: Tensor,
    schedule: Schedule,
    steps: int = 50,
    until: int | None = None,
    cuda_graph: bool = False,
    progress: Progress | None = None,
) -> Tensor:
    """Follow the deterministic sampler backwards, from clean latents to noise (paper, section 3.5).

    The UNet is asked at the timestep that a step leads *to*, and the first step starts from the
    schedule's final alpha. There is no guidance: it would make the path irreversible.

    Args:
        unet: tuned or fresh.
        latents: clean latents, b c f h w.
        embedding: prompt embedding, b n d.
        schedule: the backbone's.
        steps: as many as `sample` will take.
        until: the last timestep to go to; None goes all the way to noise.
        cuda_graph: record the UNet's work once and replay it in every step: the kernels of a single
            frame take a large GPU less time than launching them. CUDA devices only.
        progress: called with (steps done, steps in all) after each.

    Returns:
        Noise, or latents at the level of `until`, b c f h w, float32.
    """
    current, text, past = latents.float(), embedding.to(unet.dtype), Past()
    targets = schedule.timesteps(steps).flip(0).tolist()
    if until is not None:
        targets = [target for target in targets if target <= until]

    def predict(sample: Tensor, timestep: int | Tensor) -> Tensor:
        return unet(sample.to(unet.dtype), timestep, text, past=past).sample.float()

    if cuda_graph:
        predict = _recorded(predict, current)
    for done, target in enumerate(targets, start=1):
        level = target - schedule.stride(steps)
        epsilon = to_epsilon(schedule, predict(current, target), current, level)
        current = ddim_inverse_step(schedule, current, epsilon, level, target)
        if progress is not None:
            progress(done, len(targets))
    return current


def _recorded(predict: Callable[..., Tensor], like: Tensor) -> Callable[[Tensor, int], Tensor]:
    """`predict` as a CUDA graph, for samples such as `like`; each answer replaces the one before.

    The prompt's keys and values are computed while it warms up, and so are no part of it.
    """
    timestep = torch.zeros((), dtype=torch.long, device=like.device)
    replay = torch.cuda.make_graphed_callables(predict, (torch.empty_like(like), timestep))
    return lambda sample, t: replay(sample, torch.full_like(timestep, t))
