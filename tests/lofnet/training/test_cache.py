"""Cached latents: encoded once, written atomically, sampled as pairs."""

import errno
import logging
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from lofnet_samples import cache_in_a_process, disc_clip, latent_clips
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from anamodiff.errors import AnaMoDiffError
from anamodiff.lofnet.training import shards
from anamodiff.lofnet.training.cache import cache_latents
from anamodiff.lofnet.training.dataset import LatentClips
from anamodiff.video.clip import write_frames, write_video
from anamodiff.video.letterbox import to_pixels


def shards_of(clips: LatentClips) -> list[Path]:
    return list(dict.fromkeys(clip.file for clip in clips.index))


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
    assert not list(tmp_path.rglob("*.part"))


def test_frames_and_latents_belong_together(clips: LatentClips, backbone) -> None:
    frames, latents = clips.clip(2)
    assert frames.shape == (6, 3, 32, 32) and latents.shape == (6, 4, 8, 8)
    assert_close(backbone.encode(frames), latents, atol=2e-2, rtol=0)
    pairs = clips.sample_pairs(5, generator=torch.Generator().manual_seed(0))
    assert pairs.frames.shape == (10, 3, 32, 32) and len(pairs) == 5
    assert_close(backbone.encode(pairs.frames), pairs.latents, atol=2e-2, rtol=0)


def test_detector_frames_may_be_smaller(folder: Path, backbone, tmp_path: Path) -> None:
    clips = cache_latents(folder, backbone=backbone, cache=tmp_path, frame_size=16, progress=False)
    frames, latents = clips.clip(0)
    assert clips.frame_size == 16 and frames.shape[-1] == 16 and latents.shape[-1] == 8


def test_pairs_come_from_one_clip_and_flip_together(clips: LatentClips, backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = clips.sample_pairs(64, generator=generator, flip=True)
    assert_close(backbone.encode(pairs.frames), pairs.latents, atol=2e-2, rtol=0)
    colours = pairs.frames.amin(dim=(2, 3))  # each clip has its own colour
    assert_close(colours[:64], colours[64:], atol=0.1, rtol=0)
    plain = clips.sample_pairs(64, generator=torch.Generator().manual_seed(0))
    mirrored = plain.frames.flip(-1)
    flipped = (pairs.frames == mirrored).flatten(1).all(dim=1)
    kept = (pairs.frames == plain.frames).flatten(1).all(dim=1)
    assert (flipped | kept).all() and 10 < flipped[:64].sum() < 54
    assert torch.equal(flipped[:64], flipped[64:])


def test_split_is_by_clip_and_stable(clips: LatentClips) -> None:
    training, held_out = clips.split(0.3)
    assert len(training) == 4 and len(held_out) == 2
    assert not set(training.names) & set(held_out.names)
    turned = LatentClips(clips.index[::-1])
    assert set(turned.split(0.3)[1].names) == set(held_out.names)
    assert clips.split(0)[0] is clips


def test_unusable_clips_are_named_in_one_line(
    folder: Path, backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = tmp_path / "clips"
    shutil.copytree(folder, mixed)
    (mixed / "broken.gif").write_bytes(b"GIF89a nothing else")
    options = {"backbone": backbone, "cache": tmp_path / "cache", "progress": False}
    with caplog.at_level(logging.WARNING):
        clips = cache_latents(mixed, **options)
    assert len(clips) == 6
    for number in range(7):
        shutil.copy(mixed / "broken.gif", mixed / f"{number}.gif")
    with caplog.at_level(logging.WARNING):
        assert cache_latents(mixed, **options).names == clips.names
    one, many = [record.getMessage() for record in caplog.records]
    assert one.startswith("1 of 7 clips skipped: broken.gif (expected a clip") and "\n" not in one
    assert many.startswith(
        "8 of 14 clips skipped: 0.gif, 1.gif, 2.gif, 3.gif, 4.gif, 5.gif, 6.gif, broken.gif ("
    )
    assert "the first: expected a clip" in many and "\n" not in many
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(mixed / "broken.gif", only)
    with pytest.raises(AnaMoDiffError, match="found none that can be read"):
        cache_latents(only, **options)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (torch.rand(1, 3, 32, 32), "expected a clip of at least 2 frames, got one picture"),
        (torch.ones(4, 3, 32, 32), "expected a clip that moves, got 4 equal frames"),
    ],
    ids=["one frame", "pure white"],
)
def test_clips_that_teach_nothing_are_skipped(
    folder: Path, backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture, frames, reason: str
) -> None:
    mixed = tmp_path / "clips"
    shutil.copytree(folder, mixed)
    (mixed / "bad").mkdir()
    write_frames(mixed / "bad", frames)
    if len(frames) == 1:  # a folder with one picture is none of frames
        write_video(mixed / "bad.gif", frames, fps=8)
    with caplog.at_level(logging.WARNING):
        clips = cache_latents(mixed, backbone=backbone, cache=tmp_path / "c", progress=False)
    assert len(clips) == 6
    assert reason in caplog.records[0].getMessage()
    left_out = [record.getMessage() for record in caplog.records[1:]]
    assert left_out == ["1 files left out (one picture, no clip): bad/0000.png"] * (
        len(frames) == 1
    )


def test_three_thousand_frames_are_sampled_evenly(backbone, tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), 0) for _ in range(3000)]
    for number, frame in enumerate(frames):  # bits of the number, each a bright or dark column
        for bit in range(8):
            frame.paste(255 * (number >> (bit + 4) & 1), (bit, 0, bit + 1, 8))
        frame.putpixel((0, number % 7), 128)  # no two neighbours alike: equal ones are joined
    data = tmp_path / "data"
    data.mkdir()
    frames[0].save(data / "long.gif", save_all=True, append_images=frames[1:], duration=20)
    clips = cache_latents(data, backbone=backbone, cache=tmp_path / "cache", progress=False)
    assert clips.lengths == [32] and backbone.encoded == 32
    columns = (clips.clip(0)[0][:, 0, -2:, 2::4] > 0).long().amax(dim=1)
    numbers = (columns * 2 ** torch.arange(4, 12)).sum(dim=1)
    assert_close(numbers, torch.arange(32) * 3000 // 32, atol=16, rtol=0)


def test_mgif_as_it_is_published(
    backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbered gifs, strips and folders of frames, of mixed sizes and modes, in two parts."""
    train, test = tmp_path / "data" / "train", tmp_path / "data" / "test"
    for part, first in ((train, 0), (test, 10)):
        part.mkdir(parents=True)
        wide = F.interpolate(disc_clip(first), (24, 40))
        write_video(part / "00001.gif", wide, fps=8)
        grey = disc_clip(first + 1).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        images = [Image.fromarray(to_pixels(frame[None])[0]) for frame in grey]
        images[0].convert("L").save(
            part / "00002.gif", save_all=True, append_images=[i.convert("L") for i in images[1:]]
        )
        strip = to_pixels(rearrange(disc_clip(first + 2), "f c h w -> 1 c h (f w)"))[0]
        Image.fromarray(strip).convert("RGBA").save(part / "00010.png")
        write_frames(part / "00011.gif", disc_clip(first + 3))
    cut = (train / "00010.png").read_bytes()
    (train / "00012.png").write_bytes(cut[: len(cut) // 2])
    with caplog.at_level(logging.INFO):
        clips = cache_latents(
            tmp_path / "data", backbone=backbone, cache=tmp_path / "cache", progress=False
        )
    numbers = ("00001.gif", "00002.gif", "00010.png", "00011.gif")
    names = [[f"{part}/{n}" for n in numbers] for part in ("train", "test")]
    assert clips.names == names[1] + names[0] and clips.lengths == [6] * 8
    assert len(caplog.records) == 1, "one line, and none for each strip"
    assert "1 of 9 clips skipped: train/00012.png (" in caplog.records[0].getMessage()
    for share in (0.0, 0.5):
        training, held_out = clips.split(share)
        assert (training.names, held_out.names) == (names[0], names[1])
    lone = cache_latents(test, backbone=backbone, cache=tmp_path / "cache", progress=False)
    assert backbone.encoded == 48 and lone.split(0.25)[1].names != lone.names


def test_damaged_clips_are_used_as_far_as_they_go(
    folder: Path, backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data / "train")
    for name in ("disc1.gif", "disc2.gif"):
        whole = (data / "train" / name).read_bytes()
        (data / "train" / name).write_bytes(whole[: len(whole) * 3 // 4])
    with caplog.at_level(logging.INFO):
        clips = cache_latents(data, backbone=backbone, cache=tmp_path / "c", progress=False)
    assert len(clips) == 6 and all(2 <= clips.lengths[i] < 6 for i in (1, 2))
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 6 clips are damaged and used as far as they can be decoded: "
        "train/disc1.gif, train/disc2.gif"
    ]


def test_a_cache_file_cut_in_half_is_made_again(
    folder: Path, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 60_000)  # three clips a shard
    options = {"backbone": backbone, "cache": tmp_path, "progress": False}
    first = cache_latents(folder, **options)
    assert len(shards_of(first)) == 2
    expected = first.clip(1)[1].clone()
    file = shards_of(first)[0]
    del first
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        again = cache_latents(folder, **options)
    assert backbone.encoded == 36 + 18 and len(again) == 6
    assert_close(again.clip(1)[1], expected)
    assert ["cut short or broken" in record.getMessage() for record in caplog.records] == [True]


def test_changed_clips_are_encoded_anew(folder: Path, backbone, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    options = {"backbone": backbone, "cache": tmp_path / "cache", "progress": False}
    cache_latents(data, **options)
    shutil.copy(data / "disc0.gif", data / "disc1.gif")
    clips = cache_latents(data, **options)
    assert backbone.encoded == 36, "the content is known, whatever its name"
    assert torch.equal(clips.clip(0)[0], clips.clip(1)[0])
    write_video(data / "disc1.gif", disc_clip(99), fps=8)
    assert len(cache_latents(data, **options)) == 6 and backbone.encoded == 42


def test_a_full_disk_keeps_what_was_written(
    folder: Path, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 40_000)  # two clips a shard
    options = {"backbone": backbone, "cache": tmp_path, "progress": False}
    save_file, saved = shards.save_file, []

    def fill_up(tensors: dict, file: Path, **more: object) -> None:
        saved.append(file)
        if len(saved) == 3:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, file, **more)

    monkeypatch.setattr(shards, "save_file", fill_up)
    line = r"room for 0\.0 MiB .*No space left.*free some space.* 4 clips written before are kept"
    with pytest.raises(AnaMoDiffError, match=line) as caught:
        cache_latents(folder, **options)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("*.part"))
    assert len(cache_latents(folder, **options)) == 6
    assert backbone.encoded == 36 + 12, "only the last two were made again"


def test_an_interrupted_cache_keeps_what_was_encoded(
    folder: Path, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = backbone.encode

    def stop(frames: torch.Tensor) -> torch.Tensor:
        if backbone.encoded >= 18:
            raise KeyboardInterrupt
        return encode(frames)

    options = {"backbone": backbone, "cache": tmp_path, "progress": False}
    monkeypatch.setattr(backbone, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        cache_latents(folder, **options)
    monkeypatch.setattr(backbone, "encode", encode)
    assert len(cache_latents(folder, **options)) == 6 and backbone.encoded == 36


def test_two_processes_fill_one_cache(folder: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")  # forks hang where torch has threads
    encoded = context.Queue()
    both = [
        context.Process(target=cache_in_a_process, args=(folder, tmp_path, encoded))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    counts = sorted(encoded.get(timeout=120) for _ in both)
    for process in both:
        process.join()
    assert counts == [(0, 6), (36, 6)], "one encodes all, the other waits for it"
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_thousands_of_clips_need_few_files(backbone, tmp_path: Path) -> None:
    made = (
        (f"grey {number}", torch.full((2, 3, 32, 32), number / 1500 - 1)) for number in range(3000)
    )
    clips = latent_clips(made, backbone, tmp_path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    pairs = clips.sample_pairs(512, generator=torch.Generator().manual_seed(0))
    assert len(clips) == 3000 and len(shards_of(clips)) == 1 and len(pairs) == 512
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    greys = [clips.clip(i)[0].mean().item() for i in (0, 1500, 2999)]
    assert greys == pytest.approx([-1, 0, 1], abs=0.01)


def test_broken_latents_are_left_out(
    clips: LatentClips, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = load_file(clips.index[0].file)
    first = clips.index[0]
    rows["latents"][first.start + 2 : first.start + first.length] = float("nan")
    save_file(rows, tmp_path / "nan.safetensors")
    spoiled = [replace(clip, file=tmp_path / "nan.safetensors") for clip in clips.index[:2]]
    with caplog.at_level(logging.WARNING):
        pairs = LatentClips(spoiled).sample_pairs(40, generator=torch.Generator().manual_seed(0))
    assert pairs.latents.isfinite().all() and len(pairs) == 40
    assert [r.getMessage() for r in caplog.records] == [
        "disc0.gif: a latent is not finite, its pairs are skipped"
    ]
    rows["latents"][:] = float("inf")
    save_file(rows, tmp_path / "inf.safetensors")
    with pytest.raises(AnaMoDiffError, match="expected finite latents"):
        LatentClips([replace(first, file=tmp_path / "inf.safetensors")]).sample_pairs(2)


def test_a_backbone_that_gives_nan_is_noticed(
    folder: Path, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    encode = backbone.encode
    monkeypatch.setattr(
        backbone, "encode", lambda frames: encode(frames) / (backbone.encoded // 6 != 2)
    )
    with caplog.at_level(logging.WARNING):
        clips = cache_latents(folder, backbone=backbone, cache=tmp_path, progress=False)
    assert len(clips) == 5
    assert "skipped: disc1.gif (expected finite latents" in caplog.text
