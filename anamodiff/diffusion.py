"""Noise schedules and DDIM steps: pure arithmetic, no weights and no loops.

A *level* is a timestep t in [0, 1000), or a negative number for "cleaner than any timestep", which
stands for the schedule's final alpha. Levels are given as an int or as one integer per clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """How much signal is left at each timestep, and what the UNet predicts.

    `alphas_cumprod` is (1000,), float32, falling from nearly 1 to nearly 0; `final_alpha` is the
    value below timestep 0. Frozen, so that one schedule can be shared by all stages.
    """

    alphas_cumprod: Tensor
    final_alpha: float = 1.0
    prediction_type: PredictionType = "epsilon"
    steps_offset: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Read a diffusers scheduler configuration (DDIM, PNDM and others of Stable Diffusion 1.x).

        Missing entries take Stable Diffusion's values. Spacing is always "leading", as in the
        paper's sampler; clipping is ignored, because latents have no fixed range.

        Raises:
            AnaMoDiffError: for a schedule whose steps would silently be wrong here.
        """
        prediction = config.get("prediction_type", "epsilon")
        if prediction not in ("epsilon", "v_prediction"):
            raise AnaMoDiffError(
                f"expected prediction_type 'epsilon' or 'v_prediction', got {prediction!r}: "
                "choose a backbone like Stable Diffusion 1.x"
            )
        if config.get("rescale_betas_zero_snr"):
            raise AnaMoDiffError(
                "expected a schedule that keeps some signal at the last timestep, got "
                "rescale_betas_zero_snr=true: choose a backbone like Stable Diffusion 1.x"
            )
        alphas_cumprod = torch.cumprod(1.0 - _betas(config), dim=0)
        final = 1.0 if config.get("set_alpha_to_one", False) else float(alphas_cumprod[0])
        return cls(alphas_cumprod, final, prediction, int(config.get("steps_offset", 1)))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def timesteps(self, steps: int) -> Tensor:
        """Timesteps (steps,) of a sampler, int64, from noisy to clean ("leading" spacing).

        Raises:
            AnaMoDiffError: unless 1 <= steps <= number of training timesteps.
        """
        if not 1 <= steps <= len(self):
            raise AnaMoDiffError(f"expected between 1 and {len(self)} steps, got {steps}")
        # The offset would lead past the end when nearly every timestep is used.
        ascending = torch.arange(steps) * self.stride(steps) + self.steps_offset
        return ascending.clamp(max=len(self) - 1).flip(0)

    def start(self, steps: int, level: int) -> int:
        """Index into `timesteps(steps)` of the first not above `level`; the last at most."""
        return sum(t > level for t in self.timesteps(steps)[:-1].tolist())

    def stride(self, steps: int) -> int:
        """Timesteps between two neighbours of `timesteps(steps)`."""
        return len(self) // steps

    def alpha(self, t: int | Tensor, like: Tensor) -> Tensor:
        """Cumulative alpha at level t, shaped to broadcast against `like`.

        That of a single level is 0-d and stays on the CPU: it meets tensors of any device, and no
        GPU has to be waited for.
        """
        t = torch.as_tensor(t, device="cpu")
        alphas = self.alphas_cumprod[t.clamp(min=0)]
        alphas = torch.where(t < 0, alphas.new_tensor(self.final_alpha), alphas)
        if alphas.ndim == 0:
            return alphas
        return alphas.reshape(alphas.shape + (1,) * (like.ndim - alphas.ndim)).to(like.device)


def _betas(config: Mapping[str, Any]) -> Tensor:
    if config.get("trained_betas") is not None:
        return torch.tensor(config["trained_betas"], dtype=torch.float32)
    steps = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
    kind = config.get("beta_schedule", "scaled_linear")
    if kind == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float32) ** 2
    if kind == "linear":
        return torch.linspace(start, end, steps, dtype=torch.float32)
    raise AnaMoDiffError(
        f"expected beta_schedule 'scaled_linear' or 'linear', got {kind!r}: "
        "choose a backbone like Stable Diffusion 1.x"
    )


def add_noise(schedule: Schedule, clean: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
    """Diffuse `clean` (b ...) to level t: sqrt(a) clean + sqrt(1 - a) noise (DDPM, equation 4)."""
    alpha = schedule.alpha(t, clean)
    return (alpha.sqrt() * clean + (1 - alpha).sqrt() * noise).to(clean.dtype)


def noise_in(schedule: Schedule, sample: Tensor, clean: Tensor, t: int | Tensor) -> Tensor:
    """The noise that `add_noise` would have made `sample` (b ...) of level t from `clean` with."""
    alpha = schedule.alpha(t, sample)
    return ((sample - alpha.sqrt() * clean) / (1 - alpha).sqrt()).to(sample.dtype)


def training_target(schedule: Schedule, clean: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
    """What the UNet should answer for `add_noise(clean, noise, t)`: the noise, or the velocity."""
    if schedule.prediction_type == "epsilon":
        return noise
    alpha = schedule.alpha(t, clean)
    return (alpha.sqrt() * noise - (1 - alpha).sqrt() * clean).to(clean.dtype)


def to_epsilon(schedule: Schedule, output: Tensor, sample: Tensor, t: int | Tensor) -> Tensor:
    """Noise that a UNet's `output` predicts in `sample`, whose level is t."""
    if schedule.prediction_type == "epsilon":
        return output
    alpha = schedule.alpha(t, sample)
    return (alpha.sqrt() * output + (1 - alpha).sqrt() * sample).to(sample.dtype)


def to_clean(schedule: Schedule, epsilon: Tensor, sample: Tensor, t: int | Tensor) -> Tensor:
    """Clean sample that is left when `epsilon` is the noise in `sample` at level t."""
    alpha = schedule.alpha(t, sample)
    return ((sample - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()).to(sample.dtype)


def ddim_step(
    schedule: Schedule,
    sample: Tensor,
    epsilon: Tensor,
    t: int | Tensor,
    t_prev: int | Tensor,
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Step from level t to the cleaner level t_prev (DDIM, equation 12).

    `eta` 0 is deterministic, 1 as noisy as DDPM; the fresh noise comes from `generator`.
    """
    alpha, alpha_prev = schedule.alpha(t, sample), schedule.alpha(t_prev, sample)
    sigma = eta * ((1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev)).sqrt()
    clean = to_clean(schedule, epsilon, sample, t)
    # At eta 1 rounding can make the difference a little negative.
    stepped = alpha_prev.sqrt() * clean + (1 - alpha_prev - sigma**2).clamp(min=0).sqrt() * epsilon
    if eta > 0:
        stepped = stepped + sigma * normal_like(sample, generator)
    return stepped.to(sample.dtype)


def extrapolated_clean(
    schedule: Schedule, clean: Tensor, t: int, t_prev: int, earlier: tuple[Tensor, int] | None
) -> Tensor:
    """Clean sample that a second-order step from level t to t_prev aims at (DPM-Solver++ 2M).

    The clean samples predicted at t and `earlier` (with its level) are extrapolated over half the
    step, in the logarithm of the signal-to-noise ratio. A DDIM step towards the result is a step of
    DPM-Solver++ (Lu et al. 2022, algorithm 2). Unchanged without `earlier`, and where the step ends
    without noise, infinitely far off.
    """
    if earlier is None:
        return clean
    before, at, after = (_half_log_snr(schedule, level) for level in (earlier[1], t, t_prev))
    if after == math.inf or at == before:  # both ends of the schedule, in as many steps as it has
        return clean
    return clean + (clean - earlier[0]) * ((after - at) / (2 * (at - before)))


def _half_log_snr(schedule: Schedule, t: int) -> float:
    alpha = float(schedule.alphas_cumprod[t]) if t >= 0 else schedule.final_alpha
    return 0.5 * math.log(alpha / (1 - alpha)) if alpha < 1 else math.inf


def ddim_inverse_step(
    schedule: Schedule, sample: Tensor, epsilon: Tensor, t: int | Tensor, t_next: int | Tensor
) -> Tensor:
    """Step from level t to the noisier level t_next along the deterministic path.

    It is `ddim_step` run backwards: exact when `epsilon` is what the forward step used.
    """
    alpha = schedule.alpha(t_next, sample)
    clean = to_clean(schedule, epsilon, sample, t)
    return (alpha.sqrt() * clean + (1 - alpha).sqrt() * epsilon).to(sample.dtype)


def normal_like(sample: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of `sample`'s shape, drawn on the generator's own device.

    A generator on the CPU thus gives the same noise whichever device the sample is on.
    """
    device = generator.device if generator is not None else sample.device
    noise = torch.randn(sample.shape, generator=generator, device=device, dtype=torch.float32)
    return noise.to(sample.device, sample.dtype)
