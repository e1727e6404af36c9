"""Cached latents: computed once, kept whole, drawn as pairs."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet import LatentClips, cache_frames, cache_latents


@pytest.fixture
def clips(folder: Path, backbone, tmp_path: Path) -> LatentClips:
    return cache_latents(folder, backbone=backbone, cache=tmp_path / "cache", progress=False)


def test_cache_is_filled_once(folder: Path, backbone, tmp_path: Path) -> None:
    options = {"backbone": backbone, "cache": tmp_path, "progress": False}
    clips = cache_latents(folder, **options)
    assert len(clips) == 6 and clips.lengths == [6] * 6  # not padded to 32 frames
    assert backbone.encoded == 36
    cache_latents(folder, **options)
    assert backbone.encoded == 36
    cache_latents(folder, frames_per_clip=4, **options)
    assert backbone.encoded == 36 + 24
    assert not list(tmp_path.glob("*.part"))


def test_frames_and_latents_belong_together(clips: LatentClips, backbone) -> None:
    frames, latents = clips.clip(2)
    assert frames.shape == (6, 3, 32, 32) and latents.shape == (6, 4, 8, 8)
    assert_close(backbone.encode(frames), latents, atol=2e-2, rtol=0)
    pairs = clips.draw(5, generator=torch.Generator().manual_seed(0))
    assert pairs.frames.shape == (10, 3, 32, 32) and len(pairs) == 5
    assert_close(backbone.encode(pairs.frames), pairs.latents, atol=2e-2, rtol=0)


def test_detector_frames_may_be_smaller(folder: Path, backbone, tmp_path: Path) -> None:
    clips = cache_latents(folder, backbone=backbone, cache=tmp_path, frame_size=16, progress=False)
    frames, latents = clips.clip(0)
    assert clips.frame_size == 16 and frames.shape[-1] == 16 and latents.shape[-1] == 8


def test_pairs_come_from_one_clip_and_flip_together(clips: LatentClips, backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = clips.draw(64, generator=generator, flip=True)
    assert_close(backbone.encode(pairs.frames), pairs.latents, atol=2e-2, rtol=0)
    colours = pairs.frames.amin(dim=(2, 3))  # each clip has its own colour
    assert_close(colours[:64], colours[64:], atol=0.1, rtol=0)
    plain = clips.draw(64, generator=torch.Generator().manual_seed(0))
    mirrored = plain.frames.flip(-1)
    flipped = (pairs.frames == mirrored).flatten(1).all(dim=1)
    kept = (pairs.frames == plain.frames).flatten(1).all(dim=1)
    assert (flipped | kept).all() and 10 < flipped[:64].sum() < 54
    assert torch.equal(flipped[:64], flipped[64:])


def test_split_is_by_clip_and_stable(clips: LatentClips) -> None:
    training, held_out = clips.split(0.3)
    assert len(training) == 4 and len(held_out) == 2
    assert not set(training.names) & set(held_out.names)
    turned = LatentClips(clips.files[::-1], clips.names[::-1])
    assert set(turned.split(0.3)[1].names) == set(held_out.names)
    assert clips.split(0)[0] is clips


def test_unusable_clips_are_skipped_with_a_line(
    folder: Path, backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = tmp_path / "clips"
    shutil.copytree(folder, mixed)
    (mixed / "broken.gif").write_bytes(b"GIF89a nothing else")
    options = {"backbone": backbone, "cache": tmp_path / "cache", "progress": False}
    with caplog.at_level(logging.WARNING):
        clips = cache_latents(mixed, **options)
    assert len(clips) == 6
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "broken.gif skipped" in lines[0] and "\n" not in lines[0]
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(mixed / "broken.gif", only)
    with pytest.raises(AnaMoDiffError, match="found none that can be read"):
        cache_latents(only, **options)


def test_a_cache_file_cut_in_half_is_made_again(folder: Path, backbone, tmp_path: Path) -> None:
    options = {"backbone": backbone, "cache": tmp_path, "progress": False}
    file = cache_latents(folder, **options).files[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    again = cache_latents(folder, **options)
    assert backbone.encoded == 36 + 6 and len(again) == 6


def test_broken_latents_are_left_out(
    clips: LatentClips, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(clips.files[0])
    tensors["latents"][2:] = float("nan")
    save_file(tensors, tmp_path / "nan.safetensors")
    spoiled = LatentClips([tmp_path / "nan.safetensors", clips.files[1]])
    with caplog.at_level(logging.WARNING):
        pairs = spoiled.draw(40, generator=torch.Generator().manual_seed(0))
    assert pairs.latents.isfinite().all() and len(pairs) == 40
    assert [r.getMessage() for r in caplog.records] == [
        "nan: a latent is not finite, its pairs are skipped"
    ]
    tensors["latents"][:] = float("inf")
    save_file(tensors, tmp_path / "inf.safetensors")
    with pytest.raises(AnaMoDiffError, match="expected finite latents"):
        LatentClips([tmp_path / "inf.safetensors"]).draw(2)


def test_made_clips_are_made_once_and_joined(clips: LatentClips, backbone, tmp_path: Path) -> None:
    made = []

    def make() -> torch.Tensor:
        made.append(1)
        return torch.zeros(3, 3, 32, 32)

    options = {"backbone": backbone, "cache": tmp_path / "made", "progress": False}
    for _ in range(2):
        drawn = cache_frames([("grey 1", make), ("grey 2", make)], **options)
    assert len(made) == 2 and drawn.names == ["grey 1", "grey 2"] and drawn.lengths == [3, 3]
    both = clips + drawn
    assert len(both) == 8 and both.clip(7)[0].abs().max() < 0.01
