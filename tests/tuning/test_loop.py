"""The tuning loop: learns, resumes exactly, and says what is wrong."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from anamodiff.diffusion import Schedule
from anamodiff.errors import AnaMoDiffError
from anamodiff.tuning import TuningOptions, tune
from anamodiff.unet3d import add_lora, inflate, trainable_parameters

SCHEDULE = Schedule.from_config({})


def make_unet(folder) -> torch.nn.Module:
    unet = inflate(UNet2DConditionModel.from_pretrained(folder, subfolder="unet"))
    add_lora(unet, rank=4)
    return unet


def run(folder, iterations: int, checkpoint=None, **options) -> tuple[list[float], list]:
    unet = make_unet(folder)
    generator = torch.Generator().manual_seed(5)
    source, warped = torch.randn(2, 3, 4, 16, 16, generator=generator)
    embedding = torch.randn(1, 8, 16, generator=generator)
    settings = TuningOptions(iterations=iterations, checkpoint_every=2, lr=1e-3, **options)
    losses = tune(
        unet, source, warped, embedding, SCHEDULE, settings, seed=3, checkpoint=checkpoint
    )
    return losses, [p.detach().clone() for _, p in trainable_parameters(unet)]


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_resuming_gives_the_same_weights(tiny_backbone_folder, tmp_path, optimiser):
    losses, weights = run(tiny_backbone_folder, 6, optimiser=optimiser)
    run(tiny_backbone_folder, 4, tmp_path / "state.pt", optimiser=optimiser)
    resumed, again = run(tiny_backbone_folder, 6, tmp_path / "state.pt", optimiser=optimiser)
    assert resumed == losses
    other = "muon" if optimiser == "adam" else "adam"
    assert run(tiny_backbone_folder, 6, optimiser=other)[0] != losses
    for one, other in zip(weights, again, strict=True):
        assert torch.equal(one, other)


def test_another_seed_gives_other_noise(tiny_backbone_folder):
    assert run(tiny_backbone_folder, 2)[0] == run(tiny_backbone_folder, 2)[0]
    assert run(tiny_backbone_folder, 2, noise_min=0)[0] != run(tiny_backbone_folder, 2)[0]


def test_a_checkpoint_of_other_weights_is_refused(tiny_backbone_folder, tmp_path):
    run(tiny_backbone_folder, 2, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["weights"].popitem()
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(AnaMoDiffError, match="another's"):
        run(tiny_backbone_folder, 4, tmp_path / "state.pt")


def test_a_loss_that_is_no_number_stops_with_a_cure(tiny_backbone_folder):
    unet = make_unet(tiny_backbone_folder)
    nan = torch.full((3, 4, 16, 16), float("nan"))
    with pytest.raises(AnaMoDiffError, match="not a number.*tuning.lr"):
        tune(unet, nan, nan, torch.zeros(1, 8, 16), SCHEDULE, TuningOptions(iterations=1), seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"lr": 0.0},
        {"noise_min": 1000},
        {"source_noise_min": -1},
        {"rank": 0},
        {"optimiser": "sgd"},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(AnaMoDiffError, match=next(iter(wrong))):
        TuningOptions(**wrong)
