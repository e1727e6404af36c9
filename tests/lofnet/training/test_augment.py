"""Jittered pairs: colours for the detector alone, size for frames and latents alike."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lofnet_samples import latent_clips
from torch.testing import assert_close

from anamodiff.lofnet.training.augment import Jitter
from anamodiff.lofnet.training.cache import cache_latents
from anamodiff.lofnet.training.dataset import LatentClips, Pairs


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_pairs(backbone, batch: int = 4, size: int = 128) -> Pairs:
    """Pairs of soft bumps, whose latents hardly depend on where they are sampled."""
    coarse = torch.rand(2 * batch, 3, 4, 4, generator=random(1)) * 1.6 - 0.8
    frames = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True).clamp(-1, 1)
    return Pairs(frames, backbone.encode(frames))


def test_no_jitter_changes_nothing(backbone) -> None:
    pairs = smooth_pairs(backbone)
    same = Jitter.random(len(pairs), generator=random())(pairs)
    assert torch.equal(same.frames, pairs.frames) and torch.equal(same.latents, pairs.latents)


def test_a_zoom_moves_frames_and_latents_alike(backbone) -> None:
    pairs = smooth_pairs(backbone)
    jitter = Jitter.random(len(pairs), generator=random(), size=0.4)
    assert ((jitter.zooms >= 1 / 1.4) & (jitter.zooms <= 1.4)).all() and jitter.zooms.std() > 0.1
    zoomed = jitter(pairs)
    expected = backbone.encode(zoomed.frames)
    inside = (..., slice(7, -7), slice(7, -7))  # where the zoomed picture does not end
    error = (expected - zoomed.latents)[inside].abs().mean()
    moved = (pairs.latents - zoomed.latents)[inside].abs().mean()
    assert error < 0.1 * moved


def test_a_zoom_of_two_halves_the_character(backbone) -> None:
    frames = -torch.ones(2, 3, 65, 65)
    frames[..., 22:43, 22:43] = 1
    zoomed = Jitter(None, torch.tensor([2.0]))(Pairs(frames, torch.zeros(2, 4, 16, 16))).frames
    assert (zoomed > 0).sum().item() == pytest.approx((frames > 0).sum().item() / 4, rel=0.2)


def test_colours_change_for_the_detector_alone(backbone) -> None:
    pairs = smooth_pairs(backbone)
    jitter = Jitter.random(len(pairs), generator=random(), colour=0.2)
    coloured = jitter(pairs)
    assert torch.equal(coloured.latents, pairs.latents)
    assert (coloured.frames - pairs.frames).abs().mean(dim=(1, 2, 3)).min() > 0.02
    assert coloured.frames.abs().max() <= 1
    same = Pairs(pairs.frames[:4].repeat(2, 1, 1, 1), pairs.latents)
    source, driving = jitter(same).frames.chunk(2)
    assert torch.equal(source, driving), "both frames of a pair get the same colours"


def test_a_third_of_a_turn_makes_red_green() -> None:
    from anamodiff.lofnet.training.augment import _colour_maps

    none = torch.zeros(1)
    red = torch.tensor([1.0, -1, -1, 1])
    assert_close(_colour_maps(none, none, none, none)[0] @ red, red[:3])
    assert_close(_colour_maps(none + 1 / 3, none, none, none)[0] @ red, torch.tensor([-1.0, 1, -1]))
    grey = _colour_maps(none, none - 1, none, none)[0] @ red
    assert_close(grey, torch.full((3,), -1 / 3))
    dark = _colour_maps(none, none, none, none - 0.5)[0] @ torch.tensor([1.0, -1, 0, 1])
    assert_close(dark, torch.tensor([0.0, -1, -0.5]))
    flat = _colour_maps(none, none, none - 0.5, none)[0] @ red
    assert_close(flat, red[:3] / 2)


@pytest.fixture
def counting(backbone, tmp_path: Path) -> LatentClips:
    """One clip of twenty frames, each as bright as its number."""
    levels = torch.arange(20.0) / 10 - 1
    frames = levels[:, None, None, None].expand(-1, 3, 32, 32)
    return latent_clips([("c", frames)], backbone, tmp_path)


def numbers(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    source, driving = ((pairs.frames.mean(dim=(1, 2, 3)) + 1) * 10).round().long().chunk(2)
    return source, driving


def test_distance_and_time_of_the_two_frames(counting: LatentClips) -> None:
    source, driving = numbers(counting.sample_pairs(400, generator=random()))
    assert 140 < (source > driving).sum() < 250 and (source - driving).abs().max() > 15
    mean = (source - driving).abs().float().mean()
    assert mean == pytest.approx(20 / 3, rel=0.15)
    source, driving = numbers(counting.sample_pairs(400, generator=random(), time_flip=False))
    assert (source <= driving).all()
    source, driving = numbers(counting.sample_pairs(400, generator=random(), max_distance=3))
    assert (source - driving).abs().max() == 3 and {0, 19} <= set(source.tolist())
    source, driving = numbers(counting.sample_pairs(400, generator=random(), far=3))
    assert (source - driving).abs().float().mean() > 1.5 * mean


def test_no_pair_is_both_mirrored_and_backwards(backbone, tmp_path: Path) -> None:
    ramp = torch.linspace(0, 0.1, 32).expand(20, 3, 32, 32)  # brighter to the right
    frames = ramp + (torch.arange(20.0) / 11 - 1)[:, None, None, None]
    clips = latent_clips([("c", frames)], backbone, tmp_path)

    def kinds(**options: bool) -> tuple[torch.Tensor, torch.Tensor]:
        pairs = clips.sample_pairs(400, generator=random(), far=4, **options)
        source, driving = pairs.frames.mean(dim=(1, 2, 3)).chunk(2)
        left, right = pairs.frames[..., 0].mean(dim=(1, 2)), pairs.frames[..., -1].mean(dim=(1, 2))
        mirrored = (left > right).chunk(2)
        assert torch.equal(*mirrored), "both frames are mirrored or none"
        return source > driving, mirrored[0]

    backwards, mirrored = kinds(flip=True)
    assert not (backwards & mirrored).any()
    assert 0.4 < backwards.float().mean() < 0.6 and 0.18 < mirrored.float().mean() < 0.32
    backwards, mirrored = kinds(flip=True, time_flip=False)
    assert not backwards.any() and 0.4 < mirrored.float().mean() < 0.6
    backwards, mirrored = kinds()
    assert not mirrored.any() and 0.4 < backwards.float().mean() < 0.6


def test_pairs_are_of_the_chosen_clips(folder: Path, backbone, tmp_path: Path) -> None:
    clips = cache_latents(folder, backbone=backbone, cache=tmp_path, progress=False)
    chosen = torch.tensor([3, 0, 3, 5])
    pairs = clips.sample_pairs(4, generator=random(), chosen=chosen)
    colours = [clips.clip(i)[0].amin(dim=(0, 2, 3)) for i in chosen]
    assert_close(pairs.frames.amin(dim=(2, 3))[:4], torch.stack(colours), atol=0.02, rtol=0)
