"""Inversion, sampling and guidance on a small UNet, and on functions in a UNet's place."""

import pytest
import torch
from fake_cuda import fake_cuda
from fake_graph import fake_recorders
from torch import Tensor, nn

from anamodiff.diffusion import Schedule, add_noise, noise_in
from anamodiff.errors import AnaMoDiffError
from anamodiff.inversion.ddim import ddim_invert
from anamodiff.inversion.noise import warped_noise
from anamodiff.inversion.sampling import KnownCells, sample
from anamodiff.options import GenerationOptions
from anamodiff.unet3d.model import UNet3D, UNet3DOutput, inflate
from anamodiff.warp import identity_grid

STABLE_DIFFUSION = {"set_alpha_to_one": False, "steps_offset": 1}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """In place of a UNet: a share of its input plus the prompt's mean; records its calls."""

    dtype = torch.float32

    def __init__(self, share: float = 0.1) -> None:
        self.share = share
        self.calls: list[tuple[int, int]] = []

    def __call__(self, latents: Tensor, t: int, text: Tensor, cache: object) -> UNet3DOutput:
        self.calls.append((t, len(latents)))
        return UNet3DOutput(self.share * latents + text.mean((1, 2)).reshape(-1, 1, 1, 1, 1))


@pytest.fixture(scope="module")
def unet(unet2d) -> UNet3D:
    flat = unet2d()
    # A trained UNet changes slowly along the path; a random one of full strength does not.
    flat.conv_out.weight.data *= 0.2
    return inflate(flat)


def test_invert_then_sample_returns(unet: UNet3D) -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    clip, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12, seed=1)
    noise = ddim_invert(unet, clip, embedding=text, schedule=schedule, steps=10)
    back = sample(unet, noise, embedding=text, schedule=schedule, steps=10)
    assert (noise - clip).square().mean() > 0.1
    assert (back - clip).square().mean() < 0.01 * clip.square().mean()


def test_noise_on_the_way_leads_back_to_the_clip(unet: UNet3D) -> None:
    """Half inverted, the clip and the noise that is in it add up to where sampling goes on."""
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    clip, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12, seed=1)
    timesteps = schedule.timesteps(10).tolist()
    done: list[int] = []
    half = ddim_invert(
        unet, clip, embedding=text, schedule=schedule, steps=10, until=timesteps[5],
        progress=lambda steps, _: done.append(steps),
    )  # fmt: skip
    assert done == [1, 2, 3, 4, 5]
    noise = noise_in(schedule, half, clip, timesteps[5])
    again = add_noise(schedule, clip, noise, timesteps[5])
    torch.testing.assert_close(again, half, atol=1e-5, rtol=1e-5)
    back = sample(unet, again, start=5, embedding=text, schedule=schedule, steps=10)
    assert (back - clip).square().mean() < 0.01 * clip.square().mean()
    other = add_noise(schedule, clip, randn(*clip.shape, seed=2), timesteps[5])
    lost = sample(unet, other, start=5, embedding=text, schedule=schedule, steps=10)
    assert (lost - clip).square().mean() > 10 * (back - clip).square().mean()


def test_inversion_is_exact_where_the_noise_is_known() -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    clip, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12, seed=1)
    model = Linear(share=0.0)
    noise = ddim_invert(model, clip, embedding=text, schedule=schedule, steps=7)
    back = sample(model, noise, embedding=text, schedule=schedule, steps=7)
    torch.testing.assert_close(back, clip, atol=1e-4, rtol=1e-4)


def test_inversion_asks_at_the_timestep_it_leads_to() -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    model = Linear()
    progress: list[int] = []
    ddim_invert(
        model,
        randn(1, 4, 2, 4, 4),
        embedding=randn(1, 3, 6),
        schedule=schedule,
        steps=5,
        progress=lambda done, _: progress.append(done),
    )
    assert [t for t, _ in model.calls] == [1, 201, 401, 601, 801]
    assert progress == [1, 2, 3, 4, 5]


def test_recorded_stages_give_the_same(unet: UNet3D, monkeypatch) -> None:
    recorders = fake_recorders(monkeypatch)
    projected: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: projected.append(module))
        for name, module in unet.named_modules() if name.endswith("attn2.to_k")
    ]  # fmt: skip
    picture, clip, text = randn(1, 4, 1, 8, 8), randn(1, 4, 3, 8, 8), randn(1, 5, 12, seed=1)
    options = {"schedule": Schedule.from_config(STABLE_DIFFUSION), "steps": 5, "embedding": text}
    guided = options | {"negative": randn(1, 5, 12, seed=2), "guidance": 5.0, "solver": "dpm"}
    for stage, given, settings in ((ddim_invert, picture, options), (sample, clip, guided)):
        plain = stage(unet, given, **settings)
        assert not recorders, "not by itself on a CPU"
        projected.clear()
        torch.testing.assert_close(
            stage(unet, given, cuda_graph=True, **settings), plain, rtol=0, atol=0
        )
        assert recorders.pop().asked == ["warm up"] * 2 + ["record"] + ["replay"] * 3
        # The prompt's keys and values are computed once.
        assert projected and len(projected) == len(set(projected))
    for hook in hooks:
        hook.remove()


def test_windows_are_not_recorded(unet: UNet3D, monkeypatch) -> None:
    """Their lengths differ from step to step."""
    recorders = fake_recorders(monkeypatch)
    options = {"schedule": Schedule.from_config(STABLE_DIFFUSION), "steps": 3, "window": 4}
    text = randn(1, 5, 12, seed=1)
    sample(unet, randn(1, 4, 9, 8, 8), embedding=text, overlap=1, cuda_graph=True, **options)
    assert not recorders


def test_an_inversion_that_cannot_be_recorded_gives_the_same(unet, monkeypatch, caplog) -> None:
    recorders = fake_recorders(monkeypatch, fail=lambda: None)
    picture, text = randn(1, 4, 1, 8, 8), randn(1, 5, 12, seed=1)
    options = {"schedule": Schedule.from_config(STABLE_DIFFUSION), "steps": 5, "embedding": text}
    plain = ddim_invert(unet, picture, cuda_graph=False, **options)
    assert not caplog.messages
    again = ddim_invert(unet, picture, cuda_graph=True, **options)
    torch.testing.assert_close(again, plain, rtol=0, atol=0)
    (line,) = caplog.messages
    assert line.startswith("inversion: no CUDA graph, launching kernels")
    assert line.endswith("(CUDA out of memory.)")
    assert recorders[0].asked == ["warm up", "warm up", "record"]


def test_long_stages_on_cuda_are_recorded_unless_told_otherwise(monkeypatch) -> None:
    recorders = fake_recorders(monkeypatch)
    with fake_cuda(monkeypatch):
        options = {"schedule": Schedule.from_config(STABLE_DIFFUSION)}
        for device, steps, wanted, expected in (
            ("cuda", 10, None, 1), ("cuda", 9, None, 0), ("cuda", 10, False, 0),
            ("cuda", 2, True, 1), ("cpu", 50, None, 0),
        ):  # fmt: skip
            clip = torch.empty(1, 4, 1, 4, 4, device=device)
            text = torch.empty(1, 3, 6, device=device)
            for stage in (ddim_invert, sample):
                recorders.clear()
                stage(Linear(), clip, embedding=text, steps=steps, cuda_graph=wanted, **options)
                assert len(recorders) == expected, (stage, device, steps, wanted)


def test_no_step_waits_for_a_value() -> None:
    """On the meta device tensors have none, and asking for one fails."""
    with torch.device("meta"):
        text = torch.empty(2, 3, 6)
        picture, clip = torch.empty(1, 4, 1, 4, 4), torch.empty(1, 4, 12, 4, 4)
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    options = {"schedule": schedule, "steps": 5, "embedding": text[:1]}
    assert ddim_invert(Linear(), picture, **options).is_meta
    options |= {"negative": text[1:], "guidance": 2.0, "window": 10}
    for solver in ("ddim", "dpm"):
        assert sample(Linear(), clip, solver=solver, **options).is_meta


def test_guidance_extrapolates_in_one_batch() -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    noise, text, empty = randn(2, 4, 2, 4, 4), randn(2, 3, 6, seed=1), randn(2, 3, 6, seed=2)
    options = {"schedule": schedule, "steps": 4}
    guided, plain = Linear(), Linear()
    got = sample(guided, noise, embedding=text, negative=empty, guidance=3.0, **options)
    # In a model that is linear in the prompt, guidance is the same as an extrapolated prompt.
    expected = sample(plain, noise, embedding=empty + 3.0 * (text - empty), **options)
    torch.testing.assert_close(got, expected)
    assert [batch for _, batch in guided.calls] == [4] * 4
    assert [batch for _, batch in plain.calls] == [2] * 4


def test_guidance_of_one_ignores_the_negative_prompt() -> None:
    model = Linear()
    text = randn(1, 3, 6)
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    sample(model, randn(1, 4, 1, 4, 4), embedding=text, negative=-text, schedule=schedule, steps=3)
    assert [batch for _, batch in model.calls] == [1] * 3


def test_sampling_starts_late() -> None:
    model = Linear()
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    noise, text = randn(1, 4, 2, 4, 4), randn(1, 3, 6)
    late = sample(model, noise, embedding=text, schedule=schedule, steps=5, start=3)
    assert [t for t, _ in model.calls] == [201, 1]
    assert (late - noise).abs().max() > 0


class Velocity:
    """Stands for a UNet that predicts velocity, with the noise in it that `Linear` predicts."""

    dtype = torch.float32

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.noise = Linear()
        self.level: int | None = None

    def __call__(self, latents: Tensor, t: int, text: Tensor, cache: object) -> UNet3DOutput:
        # The inversion asks at the timestep that a step leads to, about latents of the one before.
        alpha = self.schedule.alpha(t if self.level is None else self.level, latents)
        noise = self.noise(latents, t, text, cache).sample
        return UNet3DOutput((noise - (1 - alpha).sqrt() * latents) / alpha.sqrt())


def test_velocity_and_noise_lead_the_same_way() -> None:
    """Sampling with guidance, and inversion: the prediction's kind is the schedule's, not ours."""
    by_noise = Schedule.from_config(STABLE_DIFFUSION)
    by_velocity = Schedule.from_config(STABLE_DIFFUSION | {"prediction_type": "v_prediction"})
    clip, text, empty = randn(1, 4, 2, 4, 4), randn(1, 3, 6, seed=1), randn(1, 3, 6, seed=2)
    options = {"embedding": text, "negative": empty, "guidance": 3.0, "steps": 6}
    expected = sample(Linear(), clip, schedule=by_noise, **options)
    got = sample(Velocity(by_velocity), clip, schedule=by_velocity, **options)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    wrong = sample(Velocity(by_velocity), clip, schedule=by_noise, **options)
    assert (wrong - expected).abs().max() > 0.1

    model = Velocity(by_velocity)
    model.level = -1  # below the first timestep

    def note(done: int, steps: int) -> None:
        model.level = int(by_velocity.timesteps(6).flip(0)[done - 1])

    options = {"embedding": text, "steps": 6}
    expected = ddim_invert(Linear(), clip, schedule=by_noise, **options)
    got = ddim_invert(model, clip, schedule=by_velocity, progress=note, **options)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_missing_prompts_and_starts_out_of_range_are_refused() -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    noise, text = randn(1, 4, 2, 4, 4), randn(1, 3, 6)
    with pytest.raises(AnaMoDiffError, match="negative"):
        sample(Linear(), noise, embedding=text, guidance=7.5, schedule=schedule)
    with pytest.raises(AnaMoDiffError, match="between 0 and 4"):
        sample(Linear(), noise, embedding=text, schedule=schedule, steps=5, start=5)


def test_the_second_order_solver_comes_nearer_in_as_many_steps(unet: UNet3D) -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    noise, text = randn(1, 4, 3, 8, 8), randn(1, 5, 12, seed=1)
    same = {"embedding": text, "schedule": schedule}
    exact = sample(unet, noise, steps=250, start=24, **same)  # from timestep 901, as of 10 steps
    errors = [
        (sample(unet, noise, steps=10, solver=solver, **same) - exact).square().mean()
        for solver in ("ddim", "dpm")
    ]
    assert errors[1] < 0.5 * errors[0]


def test_an_unknown_solver_is_refused(unet: UNet3D) -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    with pytest.raises(AnaMoDiffError, match="solver among"):
        sample(
            unet, randn(1, 4, 2, 8, 8), embedding=randn(1, 5, 12), schedule=schedule,
            solver="euler",
        )  # fmt: skip


def test_known_cells_follow_their_clip_until_all_are_denoised() -> None:
    schedule, steps, until = Schedule.from_config(STABLE_DIFFUSION), 10, 4
    clean, noise = randn(1, 4, 3, 8, 8), randn(1, 4, 3, 8, 8, seed=1)
    cells = torch.zeros(1, 1, 3, 8, 8, dtype=torch.bool)
    cells[..., :4] = True
    seen: list[Tensor] = []

    class Watched(Linear):
        def __call__(self, latents: Tensor, t: int, text: Tensor, cache: object) -> UNet3DOutput:
            seen.append(latents)
            return super().__call__(latents, t, text, cache)

    known = KnownCells(cells, clean, noise, until)
    sample(
        Watched(), noise, embedding=torch.zeros(1, 2, 4), schedule=schedule, steps=steps,
        start=1, known=known,
    )  # fmt: skip
    timesteps = schedule.timesteps(steps).tolist()[1:]
    assert len(seen) == len(timesteps) == 9
    inside = cells.expand_as(clean)
    for index, (t, latents) in enumerate(zip(timesteps, seen, strict=True), start=1):
        same = torch.equal(latents[inside], add_noise(schedule, clean, noise, t)[inside])
        assert same == (index <= until)
        assert not torch.equal(latents[~inside], add_noise(schedule, clean, noise, t)[~inside])


def test_unseen_cells_are_fresh_noise(unet: UNet3D) -> None:
    schedule = Schedule.from_config(STABLE_DIFFUSION)
    flow = identity_grid(8, 8).expand(2, -1, -1, -1)
    unseen = torch.zeros(2, 8, 8, dtype=torch.bool)
    unseen[1, 2:5, 3:7] = True

    def noise(cells: Tensor | None) -> Tensor:
        return warped_noise(
            unet, randn(1, 4, 8, 8), torch.zeros(2, dtype=torch.long), flow,
            GenerationOptions(steps=4), embedding=randn(1, 5, 12), schedule=schedule, start=0,
            generator=torch.Generator().manual_seed(3), unseen=cells,
        )  # fmt: skip

    plain, fresh = noise(None), noise(unseen)
    changed = (plain != fresh).any(1)
    assert torch.equal(changed, unseen)
    assert 0.5 < fresh.movedim(1, -1)[unseen].std() < 1.5
