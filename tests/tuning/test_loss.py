"""The disentangled loss: noise levels, batches, weights and windows of the clips."""

from dataclasses import replace

import pytest
import torch

from anamodiff.diffusion import Schedule
from anamodiff.tuning.loop import cell_weights
from anamodiff.tuning.loss import NoisyClip, disentangled_loss

SCHEDULE = Schedule.from_config({})
EMBEDDING = torch.zeros(1, 2, 4)


class Recorder(torch.nn.Module):
    """Predicts zero noise and records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, sample, timestep, encoder_hidden_states):
        assert len(encoder_hidden_states) == len(sample)
        self.calls.append((sample, timestep))
        return type("Output", (), {"sample": torch.zeros_like(sample)})


def clip(frames: int, first: int = 0, stop: int = 1000, weight: float = 1.0) -> NoisyClip:
    return NoisyClip(torch.zeros(frames, 4, 8, 8), first, stop, weight)


def test_each_clip_is_noised_within_its_own_range():
    unet, generator = Recorder(), torch.Generator().manual_seed(0)
    for _ in range(200):
        disentangled_loss(unet, clip(3), clip(3, 850), EMBEDDING, SCHEDULE, generator)
    timesteps = torch.stack([t for _, t in unet.calls])  # iterations, clips
    assert timesteps.shape == (200, 2)
    assert timesteps[:, 1].min() >= 850
    assert timesteps[:, 0].min() < 100
    assert timesteps[:, 0].max() > 900


def test_one_batch_for_equal_clips_and_two_for_a_picture():
    unet, generator = Recorder(), torch.Generator().manual_seed(0)
    disentangled_loss(unet, clip(3), clip(3), EMBEDDING, SCHEDULE, generator)
    assert [len(s) for s, _ in unet.calls] == [2]
    disentangled_loss(unet, clip(1), clip(3), EMBEDDING, SCHEDULE, generator)
    assert [s.shape[2] for s, _ in unet.calls[1:]] == [1, 3]


@pytest.mark.parametrize("frames", [4, 1])  # beside a clip, or a picture beside one
def test_clips_one_by_one_give_the_same_loss_and_gradients(frames: int):
    class Linear(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((4, 1, 1, 1), 0.5))

        def forward(self, sample, timestep, encoder_hidden_states):
            super().forward(sample, timestep, encoder_hidden_states)
            return type("Output", (), {"sample": sample * self.weight})

    found = []
    for at_once in (2, 1):
        unet, generator = Linear(), torch.Generator().manual_seed(0)
        pair = clip(frames), clip(4, 850, weight=0.5)
        settings = {"clips_at_once": at_once}
        whole = disentangled_loss(unet, *pair, EMBEDDING, SCHEDULE, generator, **settings)
        assert [len(s) for s, _ in unet.calls] == ([2] if at_once == 2 and frames == 4 else [1, 1])
        whole.total.backward()
        gradient, unet.weight.grad = unet.weight.grad, None
        generator.manual_seed(0)
        parts: list[float] = []

        def backward(share: torch.Tensor, parts=parts) -> None:
            parts.append(share.item())
            share.backward()

        summed = disentangled_loss(
            unet, *pair, EMBEDDING, SCHEDULE, generator, backward=backward, **settings
        )
        assert not summed.total.requires_grad
        torch.testing.assert_close(summed.total.item(), sum(parts))
        torch.testing.assert_close(unet.weight.grad, gradient)
        found.append([whole.total.detach(), summed.source, summed.warped, gradient])
    torch.testing.assert_close(found[0], found[1])


def test_total_is_the_weighted_sum_and_terms_are_noise_errors():
    loss = disentangled_loss(
        Recorder(), clip(4), clip(4, weight=0.5), EMBEDDING, SCHEDULE, torch.Generator()
    )
    torch.testing.assert_close(loss.total, loss.source + 0.5 * loss.warped)
    # Predicting zero for standard normal noise has the noise's variance as its error.
    assert 0.8 < loss.source < 1.2


def test_the_target_of_a_velocity_model_is_velocity():
    """For clean latents of zero the velocity is sqrt(alpha) noise, which noisy latents tell."""
    schedule = Schedule.from_config({"prediction_type": "v_prediction"})

    class Knowing(torch.nn.Module):
        def forward(self, sample, timestep, encoder_hidden_states):
            alpha = schedule.alpha(timestep, sample)
            velocity = (alpha / (1 - alpha)).sqrt() * sample
            return type("Output", (), {"sample": velocity})

    options = clip(3), clip(3, 850), EMBEDDING
    loss = disentangled_loss(Knowing(), *options, schedule, torch.Generator().manual_seed(0))
    assert max(loss.source, loss.warped) < 1e-6
    wrong = disentangled_loss(Knowing(), *options, SCHEDULE, torch.Generator().manual_seed(0))
    assert wrong.warped > 1e-2


def test_without_the_warped_clip_only_the_source_counts():
    loss = disentangled_loss(Recorder(), clip(4), None, EMBEDDING, SCHEDULE, torch.Generator())
    assert loss.warped is None
    assert loss.total == loss.source


def test_of_a_long_clip_frame_0_and_a_random_run_are_taken():
    latents = torch.arange(12.0).reshape(12, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    firsts = set()
    for _ in range(100):
        window = NoisyClip(latents, 850, 1000, 2.0).random_window(4, generator)
        assert (window.first, window.stop, window.weight) == (850, 1000, 2.0)
        first, *run = window.latents.flatten().tolist()
        assert first == 0
        assert run == [run[0], run[0] + 1, run[0] + 2]
        firsts.add(run[0])
    assert firsts == set(range(1, 10)), "every run there is"


def test_a_short_clip_is_taken_whole_without_randomness():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    for frames in (1, 4):
        own = clip(frames)
        assert own.random_window(4, generator) is own
    assert torch.equal(generator.get_state(), before)


def test_cells_without_weight_do_not_count():
    class Halves(Recorder):
        """Wrong by 1 on the left half and by 5 on the right."""

        def forward(self, sample, timestep, encoder_hidden_states):
            off = torch.full_like(sample, 1.0)
            off[..., 4:] = 5.0
            return type("Output", (), {"sample": self.noise + off})

    cells = torch.ones(3, 1, 8, 8)
    cells[..., 4:] = 0.0
    losses = []
    for weights in (None, cells, torch.full_like(cells, 0.5)):
        unet = Halves()
        draw = torch.Generator().manual_seed(1)
        torch.randint(0, 1000, (1,), generator=draw)
        unet.noise = torch.randn(1, 4, 3, 8, 8, generator=draw)
        given = replace(clip(3), cells=weights)
        generator = torch.Generator().manual_seed(1)
        loss = disentangled_loss(unet, given, None, EMBEDDING, SCHEDULE, generator)
        losses.append(float(loss.total))
    assert losses == pytest.approx([13.0, 1.0, 13.0])


def test_weights_of_cells_go_with_their_frames():
    numbers = torch.arange(8.0)[:, None, None, None]
    whole = NoisyClip(numbers.expand(8, 4, 2, 2), 0, 1000, cells=numbers.expand(8, 1, 2, 2))
    part = whole.random_window(3, torch.Generator().manual_seed(2))
    assert len(part.latents) == 3
    assert torch.equal(part.latents[:, :1], part.cells)


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, None), (0.25, [0.25, 1.0]), (0.0, [0.0, 1.0])]
)
def test_weights_of_unseen_cells(weight: float, expected: list[float] | None):
    unseen = torch.tensor([[[True, False]]])
    found = cell_weights(unseen, weight)
    assert (found if found is None else found.flatten().tolist()) == expected
    assert cell_weights(None, weight) is None
    assert cell_weights(torch.ones(1, 2, 2, dtype=torch.bool), 0.0) is None  # nothing would be left
