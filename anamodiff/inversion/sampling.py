"""Sampling: all frames of a window are denoised together (paper, section 3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from anamodiff.diffusion import (
    Schedule,
    StepProgress,
    add_noise,
    ddim_step,
    extrapolated_clean,
    noise_in,
    to_clean,
    to_epsilon,
)
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.prediction import for_all_steps
from anamodiff.inversion.windows import OVERLAP, split_frames
from anamodiff.options import Solver
from anamodiff.unet3d.kv_cache import KeyValueCache
from anamodiff.unet3d.model import UNet3D


@dataclass(frozen=True)
class KnownCells:
    """Cells that follow a clean clip up to a step of sampling, while the others are denoised.

    Attributes:
        cells: bool, b 1 f h w.
        clean: the clip's latents, b c f h w.
        noise: what they are noised with, b c f h w.
        until: index into `schedule.timesteps(steps)` from which on all cells are denoised.
    """

    cells: Tensor
    clean: Tensor
    noise: Tensor
    until: int

    def put_in(self, schedule: Schedule, current: Tensor, t: int) -> Tensor:
        """Latents b c f h w at timestep t with the known cells in them."""
        return torch.where(self.cells, add_noise(schedule, self.clean, self.noise, t), current)


@torch.no_grad()
def sample(
    unet: UNet3D,
    noise: Tensor,
    *,
    embedding: Tensor,
    negative: Tensor | None = None,
    guidance: float = 1.0,
    schedule: Schedule,
    steps: int = 50,
    start: int | None = None,
    solver: Solver = "ddim",
    window: int | None = None,
    overlap: int = OVERLAP,
    known: KnownCells | None = None,
    cuda_graph: bool | None = None,
    progress: StepProgress | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Denoise clips with classifier-free guidance.

    Args:
        unet: tuned.
        noise: noise, or latents noised to the level of step `start`, b c f h w.
        embedding: prompt embedding, b n d.
        negative: embedding of the negative prompt, b n d; needed unless `guidance` is one.
        guidance: guidance scale; one is none, and halves the work.
        schedule: the backbone's.
        steps: number of steps of the whole schedule.
        start: first index into `schedule.timesteps(steps)`; later stays closer to the input.
        solver: "ddim" is the paper's; "dpm", of second order, needs fewer steps.
        window: most frames of a window, which bounds memory; None for all. In every step a window
            attends to the cached keys and values of frame 0 and of the last frames of the window
            before it. Windows end at other frames in the next step, so that no seams build up.
        overlap: number of these last frames; at least 1 and below `window`.
        known: cells that are not to be denoised in the first steps.
        cuda_graph: replay the UNet as a CUDA graph, see `for_all_steps`; not where there are
            several windows, whose lengths differ from step to step.
        progress: called with the number of steps done and None after each.
        watch: called with that number and the clean clip that the step expects, b c f h w, which
            is blurred in the first steps and becomes clear.

    Returns:
        Latents, b c f h w, float32.

    Raises:
        AnaMoDiffError: `negative` is missing, or `solver`, `start` or `overlap` out of range.
    """
    if guidance != 1.0 and negative is None:
        raise AnaMoDiffError(
            f"expected a negative embedding for guidance {guidance}, got none: embed the empty "
            "prompt, or set guidance to 1"
        )
    if solver not in get_args(Solver):
        raise AnaMoDiffError(f"expected a solver among {get_args(Solver)}, got {solver!r}")
    if not 0 <= (start or 0) < steps:
        raise AnaMoDiffError(f"expected a start between 0 and {steps - 1}, got {start}")
    prompts = embedding if guidance == 1.0 else torch.cat([negative, embedding])
    prompts, current = prompts.to(unet.dtype), noise.float()
    frames = noise.shape[2]
    whole = window is None or frames <= window
    cache = KeyValueCache(0 if whole else overlap)
    timesteps = schedule.timesteps(steps).tolist()[start or 0 :]
    predict = for_all_steps(
        lambda latents, t: _guided(unet, latents, t, prompts, guidance, cache),
        noise.device, len(timesteps), cuda_graph=cuda_graph if whole else False, stage="sampling",
    )  # fmt: skip
    earlier = None
    for done, t in enumerate(timesteps, start=1):
        cache.clear_frames()
        if known is not None and (start or 0) + done - 1 <= known.until:
            current = known.put_in(schedule, current, t)
        runs = split_frames(frames, window, overlap, step=done - 1)
        parts = [predict(current[:, :, run], t) for run in runs]
        output = torch.cat(parts, dim=2)
        epsilon = to_epsilon(schedule, output, current, t)
        previous = t - schedule.stride(steps)
        if watch is not None:
            watch(done, to_clean(schedule, epsilon, current, t))
        if solver == "dpm":
            clean = to_clean(schedule, epsilon, current, t)
            aim = extrapolated_clean(schedule, clean, t, previous, earlier)
            earlier, epsilon = (clean, t), noise_in(schedule, current, aim, t)
        current = ddim_step(schedule, current, epsilon, t, previous)
        if progress is not None:
            progress(done, None)
    return current


def _guided(
    unet: UNet3D,
    current: Tensor,
    t: int | Tensor,
    prompts: Tensor,
    guidance: float,
    cache: KeyValueCache,
) -> Tensor:
    """Prediction b c f h w, float32, guided if there are two prompts per clip."""
    both = len(prompts) == 2 * len(current)
    latents = torch.cat([current, current]) if both else current
    output = unet(latents.to(unet.dtype), t, prompts, cache=cache).sample.float()
    if not both:
        return output
    without, with_prompt = output.chunk(2)
    return without + guidance * (with_prompt - without)
