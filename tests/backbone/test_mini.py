"""The embedded backbone as shipped: figures that its model card promises, on unseen clips."""

import pytest
import torch

from anamodiff import creatures
from anamodiff.backbone.model import Backbone
from anamodiff.backbone.size import UNET
from anamodiff.integrations.pipeline import AnaMoDiffPipeline
from anamodiff.lofnet.model import LOFNet
from anamodiff.lofnet.training.report import self_reconstruction
from anamodiff.resources import find
from anamodiff.video.clip import read_clip
from anamodiff.video.letterbox import from_pixels


@pytest.fixture(scope="module")
def mini() -> Backbone:
    return Backbone.load("mini", device="cpu")


def psnr(backbone: Backbone, frames: torch.Tensor) -> float:
    error = (backbone.decode(backbone.encode(frames)) - frames) / 2
    return float(-10 * torch.log10(error.square().mean(dim=(1, 2, 3))).mean())


def test_it_is_small_and_has_sd_s_schedule(mini):
    size = sum(path.stat().st_size for path in mini.folder.rglob("*") if path.is_file())
    assert size <= 60 * 2**20
    torch.testing.assert_close(
        mini.schedule.alphas_cumprod[[0, 999]], torch.tensor([0.99915, 0.004660]), rtol=1e-3, atol=0
    )


def test_it_works_at_256_pixels_unless_told_otherwise(mini):
    assert (mini.image_size, mini.latent_size, mini.named_size) == (256, 64, None)
    for size in (128, UNET):
        small = Backbone.load("mini", device="cpu", size=size)
        assert (small.image_size, small.latent_size, small.named_size) == (128, 32, 128)
    assert AnaMoDiffPipeline.from_pretrained("mini").mover.backbone.image_size == 256


def test_colours_and_species_are_single_tokens(mini):
    words = [*creatures.COLOURS, "turtle", "rhino", "giraffe", "horse", "cat", "elephant"]
    for word in words:
        assert len(mini.tokenizer(word)["input_ids"]) == 3, word  # begin, word, end


@pytest.mark.slow
def test_creatures_come_back(mini):
    drawn = [
        creatures.draw(creatures.Character.sample(2**31 - 1 - seed), "walk", frames=1).frames[0]
        for seed in range(16)
    ]
    assert psnr(mini, torch.cat([from_pixels(frame[None]) for frame in drawn])) > 35


@pytest.mark.slow
def test_bench_sources_come_back_and_flows_beat_standing_still(mini, shared):
    sources = sorted((shared / "clips" / "bench").glob("*/source.mp4"))
    frames = torch.cat([read_clip(path, frames=1, size=128).frames for path in sources])
    assert psnr(mini, frames) > 30
    lofnet = LOFNet.load(find("checkpoints/mini") / "lofnet")
    errors = []
    for path in sorted((shared / "clips" / "bench").glob("*/driving.mp4")):
        clip = read_clip(path, size=128).frames
        errors.append(self_reconstruction(lofnet, clip, mini.encode(clip)))
    error, identity = torch.tensor(errors).sum(dim=0)
    assert error <= 0.40 * identity
