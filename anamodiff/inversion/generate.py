"""Denoising: from noise to latents, the frames of a window together."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from anamodiff.diffusion import (
    Schedule,
    ddim_step,
    extrapolated_clean,
    noise_in,
    to_clean,
    to_epsilon,
)
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.options import Solver
from anamodiff.inversion.windows import OVERLAP, split_frames
from anamodiff.unet3d import Past, UNet3D

Progress = Callable[[int, int], None]


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
    progress: Progress | None = None,
    generator: torch.Generator | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Denoise clips with classifier-free guidance (paper, section 3.5).

    Args:
        unet: tuned.
        noise: noise, or latents noised to the level of step `start`, b c f h w.
        embedding: prompt embedding, b n d.
        negative: embedding of the empty prompt, b n d; needed when `guidance` is not one.
        guidance: how far to go from the negative prompt's prediction past the prompt's; one means
            none, and halves the work.
        schedule: the backbone's.
        steps: of the whole schedule.
        start: index into `schedule.timesteps(steps)` to begin at; later is closer to the input.
        solver: "ddim" is the paper's; "dpm", of second order, wants fewer steps.
        window: frames of a window at most, which bounds memory; None for all. At every step each
            window goes on from the keys and values that the one before it left of frame 0 and of
            its last frames. Windows end elsewhere in the next step, so that no seam builds up.
        overlap: how many of these; at least 1 and below `window`.
        progress: called with (steps done, steps to do) after each.
        generator: for the noise that `eta` adds.
        eta: 0 is deterministic, 1 as random as DDPM.

    Returns:
        Latents, b c f h w, float32.

    Raises:
        AnaMoDiffError: if `negative` is missing, or `solver`, `start` or `overlap` out of range.
    """
    if guidance != 1.0 and negative is None:
        raise AnaMoDiffError(
            f"expected a negative embedding for guidance {guidance}, got none: embed the empty "
            "prompt, or set guidance to 1"
        )
    if solver not in get_args(Solver) or (solver == "dpm" and eta):
        raise AnaMoDiffError(
            f"expected a solver among {get_args(Solver)}, dpm with eta 0, got {solver!r} with eta "
            f"{eta}"
        )
    if not 0 <= (start or 0) < steps:
        raise AnaMoDiffError(f"expected a start between 0 and {steps - 1}, got {start}")
    prompts = embedding if guidance == 1.0 else torch.cat([negative, embedding])
    prompts, current = prompts.to(unet.dtype), noise.float()
    frames = noise.shape[2]
    past = Past(overlap if window is not None and frames > window else 0)
    timesteps = schedule.timesteps(steps).tolist()[start or 0 :]
    earlier = None
    for done, t in enumerate(timesteps, start=1):
        past.forget_frames()
        runs = split_frames(frames, window, overlap, turn=done - 1)
        parts = [_guided(unet, current[:, :, run], t, prompts, guidance, past) for run in runs]
        output = torch.cat(parts, dim=2)
        epsilon = to_epsilon(schedule, output, current, t)
        previous = t - schedule.stride(steps)
        if solver == "dpm":
            clean = to_clean(schedule, epsilon, current, t)
            aim = extrapolated_clean(schedule, clean, t, previous, earlier)
            earlier, epsilon = (clean, t), noise_in(schedule, current, aim, t)
        current = ddim_step(schedule, current, epsilon, t, previous, eta=eta, generator=generator)
        if progress is not None:
            progress(done, len(timesteps))
    return current


def _guided(
    unet: UNet3D, current: Tensor, t: int, prompts: Tensor, guidance: float, past: Past
) -> Tensor:
    """Prediction (b c f h w, float32), from both prompts in one batch if there are two per clip."""
    both = len(prompts) == 2 * len(current)
    latents = torch.cat([current, current]) if both else current
    output = unet(latents.to(unet.dtype), t, prompts, past=past).sample.float()
    if not both:
        return output
    without, with_prompt = output.chunk(2)
    return without + guidance * (with_prompt - without)
