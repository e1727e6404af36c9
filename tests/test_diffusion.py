"""The schedule and its steps, against diffusers' own schedulers."""

import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
)

from anamodiff.diffusion import (
    Schedule,
    add_noise,
    ddim_inverse_step,
    ddim_step,
    extrapolated_clean,
    noise_in,
    to_clean,
    to_epsilon,
    training_target,
)
from anamodiff.errors import AnaMoDiffError

STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
VARIANTS = [
    {},
    {"prediction_type": "v_prediction"},
    {"beta_schedule": "linear", "set_alpha_to_one": True, "steps_offset": 0},
]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=VARIANTS, ids=["epsilon", "velocity", "linear"])
def config(request: pytest.FixtureRequest) -> dict:
    return STABLE_DIFFUSION | request.param


@pytest.mark.parametrize("steps", [1, 10, 50, 999])
def test_timesteps_are_those_of_diffusers(config: dict, steps: int) -> None:
    reference = DDIMScheduler(**config)
    reference.set_timesteps(steps)
    schedule = Schedule.from_config(reference.config)
    torch.testing.assert_close(schedule.timesteps(steps), reference.timesteps)


def test_one_step_per_timestep_stays_in_range() -> None:
    timesteps = Schedule.from_config(STABLE_DIFFUSION).timesteps(1000)
    assert timesteps.max() == 999
    assert timesteps.min() == 1


def test_steps_are_those_of_diffusers(config: dict) -> None:
    reference = DDIMScheduler(**config)
    reference.set_timesteps(10)
    schedule = Schedule.from_config(config)
    for t in reference.timesteps.tolist():
        sample, output = randn(2, 4, 8, seed=t), randn(2, 4, 8, seed=t + 1)
        expected = reference.step(output, t, sample, eta=0.0).prev_sample
        epsilon = to_epsilon(schedule, output, sample, t)
        got = ddim_step(schedule, sample, epsilon, t, t - 100)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_inverse_steps_are_those_of_diffusers(config: dict) -> None:
    reference = DDIMInverseScheduler(**config)
    reference.set_timesteps(10)
    schedule = Schedule.from_config(config)
    torch.testing.assert_close(schedule.timesteps(10).flip(0), reference.timesteps)
    for t in reference.timesteps.tolist():
        sample, output = randn(2, 4, 8, seed=t), randn(2, 4, 8, seed=t + 1)
        epsilon = to_epsilon(schedule, output, sample, t - 100)
        got = ddim_inverse_step(schedule, sample, epsilon, t - 100, t)
        torch.testing.assert_close(got, reference.step(output, t, sample).prev_sample)


def test_inverse_step_undoes_a_step(config: dict) -> None:
    schedule = Schedule.from_config(config)
    sample, epsilon = randn(1, 4, 8), randn(1, 4, 8, seed=1)
    there = ddim_inverse_step(schedule, sample, epsilon, -19, 1)
    back = ddim_step(schedule, there, epsilon, 1, -19)
    torch.testing.assert_close(back, sample)


def test_training_quantities_are_those_of_diffusers(config: dict) -> None:
    reference = DDIMScheduler(**config)
    schedule = Schedule.from_config(config)
    clean, noise, t = (
        randn(3, 4, 2, 8, 8),
        randn(3, 4, 2, 8, 8, seed=1),
        torch.tensor([0, 500, 999]),
    )
    noisy = add_noise(schedule, clean, noise, t)
    torch.testing.assert_close(noisy, reference.add_noise(clean, noise, t))
    target = training_target(schedule, clean, noise, t)
    if schedule.prediction_type == "v_prediction":
        torch.testing.assert_close(target, reference.get_velocity(clean, noise, t))
    epsilon = to_epsilon(schedule, target, noisy, t)
    torch.testing.assert_close(epsilon, noise, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        to_clean(schedule, noise, noisy, t)[:2], clean[:2], atol=1e-4, rtol=0
    )


def test_config_of_another_scheduler_is_read() -> None:
    """Stable Diffusion v1.4 ships a PNDM configuration."""
    pndm = {k: v for k, v in STABLE_DIFFUSION.items() if k != "clip_sample"}
    schedule = Schedule.from_config(PNDMScheduler(**pndm, skip_prk_steps=True).config)
    expected = DDIMScheduler(**STABLE_DIFFUSION)
    torch.testing.assert_close(schedule.alphas_cumprod, expected.alphas_cumprod)
    assert schedule.final_alpha == pytest.approx(float(expected.final_alpha_cumprod))


def test_half_precision_samples_stay_half() -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    sample = randn(1, 4, 8).bfloat16()
    assert ddim_step(schedule, sample, sample, 500, 480).dtype == torch.bfloat16
    assert add_noise(schedule, sample, sample, 500).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "change",
    [
        {"prediction_type": "sample"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"rescale_betas_zero_snr": True},
    ],
)
def test_foreign_schedules_are_refused(change: dict) -> None:
    with pytest.raises(AnaMoDiffError, match="choose a backbone"):
        Schedule.from_config(STABLE_DIFFUSION | change)


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(AnaMoDiffError, match="steps"):
        Schedule.from_config(STABLE_DIFFUSION).timesteps(steps)


def test_sampling_starts_at_the_first_timestep_that_is_not_above_a_level():
    schedule = Schedule.from_config({})
    timesteps = schedule.timesteps(10).tolist()
    for level in (1000, 500, 1):
        start = schedule.start(10, level)
        assert timesteps[start] <= level and all(t > level for t in timesteps[:start])
    assert schedule.start(10, 0) == 9, "at least one step"


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_second_order_steps_are_those_of_dpm_solver(prediction):
    """The same path as diffusers' solver on the same timesteps, through a nonlinear function."""
    config = {**STABLE_DIFFUSION, "prediction_type": prediction}
    schedule = Schedule.from_config(config)
    theirs = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type=prediction, final_sigmas_type="sigma_min", lower_order_final=False,
    )  # fmt: skip
    times = schedule.timesteps(8)
    theirs.set_timesteps(timesteps=times.tolist())
    ours = other = torch.randn(1, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    earlier = None
    for t in times.tolist():
        previous = t - schedule.stride(8)
        epsilon = to_epsilon(schedule, torch.tanh(ours + t / 1000), ours, t)
        clean = to_clean(schedule, epsilon, ours, t)
        aim = extrapolated_clean(schedule, clean, t, previous, earlier)
        ours = ddim_step(schedule, ours, noise_in(schedule, ours, aim, t), t, previous)
        other = theirs.step(torch.tanh(other + t / 1000), t, other).prev_sample
        earlier = clean, t
    torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)


def test_a_step_to_no_noise_at_all_is_of_first_order():
    schedule = Schedule.from_config({"set_alpha_to_one": True})
    clean, before = torch.randn(2, 1, 4)
    aims = [extrapolated_clean(schedule, clean, 1, to, (before, 101)) for to in (-99, 0)]
    assert torch.equal(aims[0], clean)
    twice = extrapolated_clean(schedule, clean, 999, 998, (before, 999))  # of a thousand steps
    assert torch.equal(twice, clean)
    assert not torch.equal(aims[1], clean)
