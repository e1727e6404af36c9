"""DDIM inversion: the noise from which the sampler would reach a clip (paper, section 3.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from anamodiff.diffusion import Schedule, StepProgress, ddim_inverse_step, to_epsilon
from anamodiff.unet3d.kv_cache import KeyValueCache
from anamodiff.unet3d.model import UNet3D

logger = logging.getLogger(__name__)

# Recording takes as long as about five steps: with SD v1.4 on an H200 it pays from seven on.
GRAPH_STEPS = 10


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
        cuda_graph: record the UNet as a CUDA graph and replay it in every step: for a single frame
            on a large GPU, launching kernels takes longer than running them. None does so on CUDA
            devices, from `GRAPH_STEPS` steps on. Where recording fails, one line says so and the
            kernels are launched one by one.
        progress: called with the number of steps done and None after each.

    Returns:
        Noise, or latents at the noise level of `until`, b c f h w, float32.
    """
    current, text = latents.float(), embedding.to(unet.dtype)
    targets = schedule.timesteps(steps).flip(0).tolist()
    if until is not None:
        targets = [target for target in targets if target <= until]

    if cuda_graph is None:
        cuda_graph = latents.device.type == "cuda" and len(targets) >= GRAPH_STEPS
    predict = _prediction(unet, text)
    if cuda_graph:
        try:
            predict = _record_cuda_graph(predict, current)
        except RuntimeError as error:  # memory, or an operation that cannot be captured
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            logger.warning("inversion: no CUDA graph, launching kernels instead (%s)", reason)
            predict = _prediction(unet, text)
    for done, target in enumerate(targets, start=1):
        level = target - schedule.stride(steps)
        epsilon = to_epsilon(schedule, predict(current, target), current, level)
        current = ddim_inverse_step(schedule, current, epsilon, level, target)
        if progress is not None:
            progress(done, None)
    return current


def _prediction(unet: UNet3D, text: Tensor) -> Callable[..., Tensor]:
    """The UNet's output for a sample at a timestep, with a cache of its own for the prompt."""
    cache = KeyValueCache()
    return lambda sample, t: unet(sample.to(unet.dtype), t, text, cache=cache).sample.float()


def _record_cuda_graph(predict: Callable[..., Tensor], like: Tensor) -> Callable[..., Tensor]:
    """`predict` as a CUDA graph, for samples such as `like`; every call reuses the output tensor.

    The prompt's keys and values are cached during the warm-up, so that the graph does not compute
    them.
    """
    timestep = torch.zeros((), dtype=torch.long, device=like.device)
    replay = torch.cuda.make_graphed_callables(predict, (torch.empty_like(like), timestep))
    return lambda sample, t: replay(sample, torch.full_like(timestep, t))
