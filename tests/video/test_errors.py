"""What cannot be read or written is said in one line: expected, got, cure."""

import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image
from video_samples import encode_video, moving_square, numbered, numbers

from anamodiff.errors import AnaMoDiffError
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.video.find import find_clips
from anamodiff.video.sampling import ClipError


def complaint(call, *args, **options) -> str:
    with pytest.raises(ClipError) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert isinstance(caught.value, AnaMoDiffError)
    assert "\n" not in text and text.startswith("expected ") and "got " in text
    assert ";" in text.split("got ")[1], "no cure"
    return text


def test_nothing_there(tmp_path):
    text = complaint(read_clip, tmp_path / "no.mp4", role="source")
    assert "source" in text and "no.mp4" in text and "nothing" in text


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    assert "empty file (0 bytes)" in complaint(read_clip, path)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.txt", "a.png"])
@pytest.mark.parametrize("text", ["<!DOCTYPE html><p>404</p>", "äöü: grün\n" * 200])
def test_text_with_another_name(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert "text" in complaint(read_clip, tmp_path / name)


def test_noise_with_the_name_of_a_film(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, 5000, dtype=np.uint8)
    (tmp_path / "a.mp4").write_bytes(noise.tobytes())
    assert "damaged" in complaint(read_clip, tmp_path / "a.mp4", role="driving clip")


def test_film_without_its_end_and_index(tmp_path):
    path = encode_video(tmp_path / "a.mp4", [numbered(i) for i in range(30)])
    path.write_bytes(path.read_bytes()[:-400])
    assert "truncated" in complaint(read_clip, path)


def test_cut_film_gives_what_it_has(tmp_path, caplog):
    path = encode_video(
        tmp_path / "a.mp4",
        [numbered(i) for i in range(60)],
        options={"g": "6"},
        container={"movflags": "+faststart"},
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with caplog.at_level(logging.WARNING):
        clip = read_clip(path, frames=None)
    assert 5 < clip.total < 60 and "of 60 frames" in caplog.text
    assert numbers(clip.frames)[:-3] == list(range(clip.total - 3))  # at the cut some may lack
    assert "at least 50 frames" in complaint(read_clip, path, minimum=50)


def test_cut_webm_gives_what_it_has(tmp_path, caplog):
    pictures = [numbered(i) for i in range(40)]
    path = encode_video(tmp_path / "a.webm", pictures, "libvpx-vp9", options={"cpu-used": "8"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = read_clip(path, frames=None)
    assert numbers(clip.frames) == list(range(clip.total)) and "damaged" in caplog.text


def test_damaged_middle_is_stepped_over(tmp_path, caplog):
    path = encode_video(
        tmp_path / "a.mp4",
        [numbered(i) for i in range(60)],
        options={"g": "6"},
        container={"movflags": "+faststart"},
    )
    data = bytearray(path.read_bytes())
    middle = len(data) * 3 // 5
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    clip = read_clip(path, frames=None)
    found = numbers(clip.frames)
    assert 40 < clip.total < 60 and "damaged" in caplog.text
    assert found[0] == 0 and found[-1] == 59


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_cut_animation_gives_what_it_has(tmp_path, suffix, caplog):
    path = tmp_path / f"a{suffix}"
    pictures = np.random.default_rng(0).integers(0, 255, (12, 24, 24, 3), dtype=np.uint8)
    images = [Image.fromarray(picture).quantize(32) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=80)
    whole = read_clip(path, frames=None).frames
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = read_clip(path, frames=None)
    assert 3 <= clip.total <= 7 and "damaged" in caplog.text
    assert torch.equal(clip.frames, whole[: clip.total])
    assert "at least 10 frames" in complaint(read_clip, path, minimum=10)


def test_gif_cut_between_frames_is_noticed(tmp_path, caplog):
    images = [Image.fromarray(picture) for picture in moving_square(5)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=80)
    read_clip(tmp_path / "a.gif")
    assert not caplog.text
    (tmp_path / "a.gif").write_bytes((tmp_path / "a.gif").read_bytes()[:-1])
    assert read_clip(tmp_path / "a.gif").total == 5 and "cut short" in caplog.text


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif"])
def test_truncated_still(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    complaint(read_clip, tmp_path / name)


def test_folder_without_pictures(tmp_path):
    assert "among 0 files" in complaint(read_clip, tmp_path, role="source")
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    assert "among 1 files" in complaint(read_clip, tmp_path)


def test_folder_of_several_sizes(tmp_path):
    for index, width in enumerate((104, 104, 110)):
        Image.fromarray(numbered(index, width=width)).save(tmp_path / f"{index}.png")
    text = complaint(read_clip, tmp_path, frames=None)
    assert "104x48 and 110x48 (2.png)" in text


def test_folder_with_a_damaged_frame(tmp_path):
    Image.fromarray(numbered(0)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    assert "1.png" in complaint(read_clip, tmp_path)


def test_driving_clip_of_one_frame(tmp_path):
    Image.fromarray(numbered(0)).save(tmp_path / "a.png")
    encode_video(tmp_path / "b.mp4", [numbered(0)])
    for name in ("a.png", "b.mp4"):
        text = complaint(read_clip, tmp_path / name, minimum=2, role="driving clip")
        assert "driving clip of at least 2 frames, got one picture" in text


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(numbered(0)).save(path)
    if os.geteuid():
        path.chmod(0)
    else:  # root may read everything

        def refuse(*_args, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(path), "open", refuse)
    assert "permission denied" in complaint(read_clip, path)


@pytest.mark.parametrize("options", [{"frames": 0}, {"size": -1}])
def test_numbers_below_one(tmp_path, options):
    complaint(read_clip, tmp_path, **options)


def test_find_clips_says_what_is_missing(tmp_path):
    complaint(find_clips, tmp_path)
    complaint(find_clips, tmp_path / "no")
    (tmp_path / "a.txt").write_text("hello")
    Image.fromarray(numbered(0)).save(tmp_path / "still.png")
    complaint(find_clips, tmp_path)


def test_find_clips_lists_damaged_pictures(tmp_path):
    Image.fromarray(np.concatenate(moving_square(4), axis=1)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.txt").write_text("no picture")
    assert find_clips(tmp_path) == [tmp_path / "a.png", tmp_path / "b.png"]
    (tmp_path / "frames").mkdir()
    for name in ("0.png", "1.png", "2.png"):
        Image.fromarray(numbered(0)).save(tmp_path / "frames" / name)
    (tmp_path / "frames" / "1.png").write_bytes(b"no picture")
    assert find_clips(tmp_path / "frames") == [tmp_path / "frames"], "one frame spoils no folder"


def frames(count: int = 2) -> torch.Tensor:
    return torch.zeros(count, 3, 8, 8)


@pytest.mark.parametrize("name", ["a", "a.avi", "a.mp5"])
def test_unknown_video_name(tmp_path, name):
    assert ".gif" in complaint(write_video, tmp_path / name, frames(), 10)


@pytest.mark.parametrize("fps", [0, -3, float("nan"), float("inf")])
def test_impossible_rate(tmp_path, fps):
    complaint(write_video, tmp_path / "a.mp4", frames(), fps)


def test_nan_frames(tmp_path):
    bad = frames(5)
    bad[3, 1, 2, 2] = float("nan")
    assert "1 of 5" in complaint(write_video, tmp_path / "a.mp4", bad, 10)
    complaint(write_frames, tmp_path / "frames", bad)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 8, 8), (0, 3, 8, 8)])
def test_frames_of_another_shape(tmp_path, shape):
    complaint(write_video, tmp_path / "a.gif", torch.zeros(shape), 10)


def test_folder_in_the_way(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    complaint(write_video, tmp_path / "a.mp4", frames(), 10)
    (tmp_path / "file").write_text("x")
    complaint(write_video, tmp_path / "file" / "a.mp4", frames(), 10)
