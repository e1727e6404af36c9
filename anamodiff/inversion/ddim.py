"""DDIM inversion: the noise from which the sampler would reach a clip (paper, section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from anamodiff.diffusion import Schedule, StepProgress, ddim_inverse_step, to_epsilon
from anamodiff.inversion.prediction import for_all_steps
from anamodiff.unet3d.kv_cache import KeyValueCache
from anamodiff.unet3d.model import UNet3D


@torch.no_grad()
def ddim_invert(
    unet: UNet3D,
    latents: Tensor,
    *,
    embedding: Tensor,
    schedule: Schedule,
    steps: int = 50,
    until: int | None = None,
    cuda_graph: bool | None = None,
    progress: StepProgress | None = None,
) -> Tensor:
    """Invert clean latents to noise, by deterministic DDIM steps in reverse.

    The UNet is evaluated at the timestep that a step ends at, and the first step starts from the
    schedule's final alpha. Without guidance, which would make the steps irreversible.

    Args:
        unet: tuned or fresh.
        latents: clean latents, b c f h w.
        embedding: prompt embedding, b n d.
        schedule: the backbone's.
        steps: number of steps of the whole schedule, as in `sample`.
        until: last timestep; None inverts all the way to noise.
        cuda_graph: replay the UNet as a CUDA graph: for a single frame on a large GPU, launching
            kernels takes longer than running them. None: see `for_all_steps`.
        progress: called with the number of steps done and None after each.

    Returns:
        Noise, or latents at the noise level of `until`, b c f h w, float32.
    """
    current, text = latents.float(), embedding.to(unet.dtype)
    targets = schedule.timesteps(steps).flip(0).tolist()
    if until is not None:
        targets = [target for target in targets if target <= until]
    cache = KeyValueCache()  # of the prompt
    predict = for_all_steps(
        lambda sample, t: unet(sample.to(unet.dtype), t, text, cache=cache).sample.float(),
        latents.device, len(targets), cuda_graph=cuda_graph, stage="inversion",
    )  # fmt: skip
    for done, target in enumerate(targets, start=1):
        level = target - schedule.stride(steps)
        epsilon = to_epsilon(schedule, predict(current, target), current, level)
        current = ddim_inverse_step(schedule, current, epsilon, level, target)
        if progress is not None:
            progress(done, None)
    return current
