"""The disentangled denoising loss (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from anamodiff.diffusion import Schedule, add_noise, normal_like, to_device, training_target


@dataclass(frozen=True)
class NoisyClip:
    """A clip to learn.

    Attributes:
        latents: f c h w.
        first, stop: its range of timesteps [first, stop).
        weight: of its loss.
        cells: weights f 1 h w of the latents' cells within it, not all 0; None: all alike.
    """

    latents: Tensor
    first: int
    stop: int
    weight: float = 1.0
    cells: Tensor | None = None

    def random_window(self, window: int, generator: torch.Generator) -> NoisyClip:
        """Frame 0 and random successive frames, `window` in all; the whole clip if shorter."""
        count = len(self.latents)
        if count <= window:
            return self
        first = int(torch.randint(1, count - window + 2, (1,), generator=generator))
        latents, cells = (
            x if x is None else torch.cat([x[:1], x[first : first + window - 1]])
            for x in (self.latents, self.cells)
        )
        return replace(self, latents=latents, cells=cells)


@dataclass(frozen=True)
class DisentangledLoss:
    """D = D_S + weight D_W and its unweighted terms, all 0-d."""

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
    *,
    clips_at_once: int = 2,
    backward: Callable[[Tensor], None] | None = None,
) -> DisentangledLoss:
    """Noise-prediction error on source and warped clip, each in its own range of timesteps.

    High noise levels teach pose and motion, low ones identity: the warped clip's range keeps the
    warp's artifacts out of the low ones.

    Args:
        unet: an inflated UNet.
        source: `Z_S`; a single frame for a picture.
        warped: `Z_WI`, or None for the ablation without it.
        embedding: the prompt's, 1 n d.
        schedule: the backbone's.
        generator: of one timestep a clip, and of the noise.
        clips_at_once: clips in a pass through the UNet, 1 or 2; the noise is the same.
        backward: called with each pass's part of the total, to accumulate its gradients and free
            its activations; the result then has no graph.
    """
    clips = [source] if warped is None else [source, warped]
    passes = draw_passes(clips, schedule, generator, clips_at_once=clips_at_once)
    weights = [clip.weight for clip in clips]
    return sum_errors(weights, pass_errors(unet, passes, embedding, weights, backward))


class Pass(NamedTuple):
    """One or two noisy clips that go through the UNet together, and what it should predict.

    Attributes:
        noisy: latents b c f h w.
        t: timesteps (b,) on their device.
        target: the noise, or the velocity, b c f h w.
        cells: weights b 1 f h w of the latents' cells, of mean 1 in each clip.
    """

    noisy: Tensor
    t: Tensor
    target: Tensor
    cells: Tensor


def draw_passes(
    clips: Sequence[NoisyClip],
    schedule: Schedule,
    generator: torch.Generator,
    *,
    clips_at_once: int = 2,
) -> list[Pass]:
    """The passes of an iteration, in the order of the clips: all of it that is random."""
    # A picture and a clip are not batched: the picture would have to be repeated.
    equal = len({len(clip.latents) for clip in clips}) == 1
    batches = [clips] if equal else [[clip] for clip in clips]
    return [
        Pass(*parts)
        for batch in batches
        for parts in zip(
            *(x.split(clips_at_once) for x in _draw(batch, schedule, generator)), strict=True
        )
    ]


def pass_errors(
    unet: nn.Module,
    passes: Sequence[Pass],
    embedding: Tensor,
    weights: Sequence[float],
    backward: Callable[[Tensor], None] | None = None,
) -> list[Tensor]:
    """Mean squared errors, 0-d, of the predictions for all clips.

    It computes on the latents' device alone, so that a CUDA graph can replay it.

    Args:
        weights: of the clips, in the total.
        backward: see `disentangled_loss`.
    """
    errors: list[Tensor] = []
    for noisy, t, target, cells in passes:
        text = embedding.expand(len(t), -1, -1)
        error = unet(noisy, t, encoder_hidden_states=text).sample.float() - target
        part = (cells * error.square()).mean(dim=(1, 2, 3, 4))
        if backward is not None:
            backward(_total(weights[len(errors) :], part))
        errors.extend(part if backward is None else part.detach())
    return errors


def sum_errors(weights: Sequence[float], errors: Sequence[Tensor]) -> DisentangledLoss:
    """The loss, of errors of the source and, if it takes part, of the warped clip."""
    return DisentangledLoss(_total(weights, errors), errors[0], (*errors, None)[1])


def _total(weights: Sequence[float], errors: Tensor | Sequence[Tensor]) -> Tensor:
    """Weighted sum of the errors of the first clips."""
    return sum(weight * error for weight, error in zip(weights, errors, strict=False))


def _draw(
    clips: Sequence[NoisyClip], schedule: Schedule, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Noisy latents, timesteps, targets and cells, as in `Pass`, of clips of equal length."""
    clean = rearrange([clip.latents for clip in clips], "b f c h w -> b c f h w")
    t = torch.cat(
        [torch.randint(clip.first, clip.stop, (1,), generator=generator) for clip in clips]
    )
    noise = normal_like(clean, generator)
    noisy = add_noise(schedule, clean, noise, t)
    target = training_target(schedule, clean, noise, t)
    return noisy, to_device(t, clean.device), target, _cell_weights(clips, clean)


def _cell_weights(clips: Sequence[NoisyClip], like: Tensor) -> Tensor:
    """Weights b 1 f h w of mean 1, on the device of the latents."""
    rows = [
        torch.ones_like(clip.latents[:, :1]) if clip.cells is None else clip.cells for clip in clips
    ]
    weights = rearrange(rows, "b f 1 h w -> b 1 f h w").to(like)
    return weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)
