"""Noise schedules and DDIM steps, as pure functions.

A *level* is a timestep t in [0, 1000), or a negative number, which stands for the schedule's final
alpha, cleaner than any timestep. It is an int, or a tensor of one integer per clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from anamodiff.errors import AnaMoDiffError

PredictionType = Literal["epsilon", "v_prediction"]
#: Called with the steps of a stage that are done and, in tuning, the loss.
StepProgress = Callable[[int, float | None], None]


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule, and what the UNet was trained to predict with it.

    Attributes:
        alphas_cumprod: cumulative alphas (1000,), float32, falling from nearly 1 to nearly 0.
        final_alpha: cumulative alpha below timestep 0.
        prediction_type: noise or velocity.
        steps_offset: added to the sampler's timesteps.
    """

    alphas_cumprod: Tensor
    final_alpha: float = 1.0
    prediction_type: PredictionType = "epsilon"
    steps_offset: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Read a diffusers scheduler configuration (DDIM, PNDM and others of Stable Diffusion 1.x).

        Missing entries have Stable Diffusion's values. Spacing is always "leading", as in the
        paper's sampler; clipping is ignored, because latents have no fixed range.

        Raises:
            AnaMoDiffError: a schedule that is not supported.
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
        # With nearly every timestep in use, the offset would exceed the last one.
        ascending = torch.arange(steps) * self.stride(steps) + self.steps_offset
        return ascending.clamp(max=len(self) - 1).flip(0)

    def start(self, steps: int, level: int) -> int:
        """Index of the first of `timesteps(steps)` that is not above `level`, else of the last."""
        return sum(t > level for t in self.timesteps(steps)[:-1].tolist())

    def visited(self, steps: int, level: int) -> list[int]:
        """The timesteps of a sampler that starts at `level`, from noisy to clean."""
        return self.timesteps(steps)[self.start(steps, level) :].tolist()

    def stride(self, steps: int) -> int:
        """Difference of successive `timesteps(steps)`."""
        return len(self) // steps

    def alpha(self, t: int | Tensor, like: Tensor) -> Tensor:
        """Cumulative alpha at level t, shaped to broadcast with `like`.

        For a single level it is 0-d and on the CPU, which combines with tensors of any device
        without synchronisation.
        """
        t = torch.as_tensor(t, device="cpu")
        alphas = self.alphas_cumprod[t.clamp(min=0)]
        alphas = torch.where(t < 0, alphas.new_tensor(self.final_alpha), alphas)
        if alphas.ndim == 0:
            return alphas
        return to_device(
            alphas.reshape(alphas.shape + (1,) * (like.ndim - alphas.ndim)), like.device
        )


def generator_of(number: int) -> torch.Generator:
    """A generator on the CPU, seeded by a whole number of any size, which wraps at 64 bits."""
    return torch.Generator().manual_seed(number % 2**64)


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
    """Noise `clean` (b ...) to level t: sqrt(a) clean + sqrt(1 - a) noise (DDPM, equation 4)."""
    alpha = schedule.alpha(t, clean)
    return (alpha.sqrt() * clean + (1 - alpha).sqrt() * noise).to(clean.dtype)


def noise_in(schedule: Schedule, sample: Tensor, clean: Tensor, t: int | Tensor) -> Tensor:
    """Noise in `sample` (b ...) of level t, given `clean`: the inverse of `add_noise`."""
    alpha = schedule.alpha(t, sample)
    return ((sample - alpha.sqrt() * clean) / (1 - alpha).sqrt()).to(sample.dtype)


def training_target(schedule: Schedule, clean: Tensor, noise: Tensor, t: int | Tensor) -> Tensor:
    """The UNet's target for `add_noise(clean, noise, t)`: the noise, or the velocity."""
    if schedule.prediction_type == "epsilon":
        return noise
    alpha = schedule.alpha(t, clean)
    return (alpha.sqrt() * noise - (1 - alpha).sqrt() * clean).to(clean.dtype)


def to_epsilon(schedule: Schedule, output: Tensor, sample: Tensor, t: int | Tensor) -> Tensor:
    """Noise in `sample` of level t that the UNet's `output`, noise or velocity, predicts."""
    if schedule.prediction_type == "epsilon":
        return output
    alpha = schedule.alpha(t, sample)
    return (alpha.sqrt() * output + (1 - alpha).sqrt() * sample).to(sample.dtype)


def to_clean(schedule: Schedule, epsilon: Tensor, sample: Tensor, t: int | Tensor) -> Tensor:
    """Clean sample, given the noise `epsilon` in `sample` of level t."""
    alpha = schedule.alpha(t, sample)
    return ((sample - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()).to(sample.dtype)


def ddim_step(
    schedule: Schedule, sample: Tensor, epsilon: Tensor, t: int | Tensor, t_prev: int | Tensor
) -> Tensor:
    """Deterministic step from level t to the cleaner level t_prev (DDIM, equation 12)."""
    alpha_prev = schedule.alpha(t_prev, sample)
    clean = to_clean(schedule, epsilon, sample, t)
    return (alpha_prev.sqrt() * clean + (1 - alpha_prev).sqrt() * epsilon).to(sample.dtype)


def extrapolated_clean(
    schedule: Schedule, clean: Tensor, t: int, t_prev: int, earlier: tuple[Tensor, int] | None
) -> Tensor:
    """Clean sample for a second-order step from level t to t_prev (DPM-Solver++ 2M).

    The clean samples predicted at t and before (`earlier`, with its level) are extrapolated over
    half the step, linearly in the log signal-to-noise ratio. A DDIM step with the result is a step
    of DPM-Solver++ (Lu et al. 2022, algorithm 2). It is `clean` itself without `earlier`, and where
    the step ends without noise, at an infinite ratio.
    """
    if earlier is None:
        return clean
    before, at, after = (_half_log_snr(schedule, level) for level in (earlier[1], t, t_prev))
    if after == math.inf or at == before:  # the last step; the first of as many as timesteps
        return clean
    return clean + (clean - earlier[0]) * ((after - at) / (2 * (at - before)))


def _half_log_snr(schedule: Schedule, t: int) -> float:
    alpha = float(schedule.alphas_cumprod[t]) if t >= 0 else schedule.final_alpha
    return 0.5 * math.log(alpha / (1 - alpha)) if alpha < 1 else math.inf


def ddim_inverse_step(
    schedule: Schedule, sample: Tensor, epsilon: Tensor, t: int | Tensor, t_next: int | Tensor
) -> Tensor:
    """Deterministic step from level t to the noisier level t_next, `ddim_step` in reverse.

    It is exact if `epsilon` is that of the forward step.
    """
    alpha = schedule.alpha(t_next, sample)
    clean = to_clean(schedule, epsilon, sample, t)
    return (alpha.sqrt() * clean + (1 - alpha).sqrt() * epsilon).to(sample.dtype)


def normal_like(sample: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of `sample`'s shape, type and device.

    It is generated on the generator's device: one on the CPU gives all devices the same noise.
    """
    device = generator.device if generator is not None else sample.device
    noise = torch.randn(sample.shape, generator=generator, device=device, dtype=torch.float32)
    return to_device(noise, sample.device).to(sample.dtype)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, without waiting for a GPU to finish what it computes."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
