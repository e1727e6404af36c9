"""The disentangled denoising loss (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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

    def seen(self, window: int, generator: torch.Generator) -> NoisyClip:
        """Frame 0 and a run of its later frames drawn by lot, `window` together; or all it has."""
        count = len(self.latents)
        if count <= window:
            return self
        first = int(torch.randint(1, count - window + 2, (1,), generator=generator))
        run = self.latents[first : first + window - 1]
        return replace(self, latents=torch.cat([self.latents[:1], run]))


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
    *,
    clips_at_once: int = 2,
    backward: Callable[[Tensor], None] | None = None,
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
        clips_at_once: 1 asks the UNet about one clip after the other, with the same draws.
        backward: called with each pass's share of the total as soon as it is known, to accumulate
            its gradients and let its activations go; the result then has no graph.
    """
    clips = [source] if warped is None else [source, warped]
    # A picture beside a clip: batching would mean repeating the picture.
    equal = len({len(clip.latents) for clip in clips}) == 1
    batches = [clips] if equal else [[clip] for clip in clips]
    errors: list[Tensor] = []
    for batch in batches:
        for own in _errors(unet, batch, embedding, schedule, generator, clips_at_once):
            if backward is not None:
                backward(_total(clips[len(errors) :], own))
            errors.extend(own if backward is None else own.detach())
    return DisentangledLoss(_total(clips, errors), errors[0], None if warped is None else errors[1])


def _total(clips: Sequence[NoisyClip], errors: Tensor | Sequence[Tensor]) -> Tensor:
    """Weighted sum of the errors of the first clips."""
    return sum(clip.weight * error for clip, error in zip(clips, errors, strict=False))


def _errors(
    unet: nn.Module,
    clips: Sequence[NoisyClip],
    embedding: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    clips_at_once: int,
) -> Iterator[Tensor]:
    """Mean squared errors (b,) of the prediction in clips of equal length, batch by batch."""
    clean = rearrange([clip.latents for clip in clips], "b f c h w -> b c f h w")
    t = torch.cat(
        [torch.randint(clip.first, clip.stop, (1,), generator=generator) for clip in clips]
    )
    noise = normal_like(clean, generator)
    noisy = add_noise(schedule, clean, noise, t)
    target = training_target(schedule, clean, noise, t)
    parts = (x.split(clips_at_once) for x in (noisy, t, target))
    for own_noisy, own_t, own_target in zip(*parts, strict=True):
        text = embedding.expand(len(own_t), -1, -1)
        error = unet(own_noisy, own_t, encoder_hidden_states=text).sample.float() - own_target
        yield error.square().mean(dim=(1, 2, 3, 4))
