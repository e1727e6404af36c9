"""Writing clips, letterboxes, and the way back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from video_samples import moving_square, numbered, numbers

from anamodiff import creatures
from anamodiff.video import clip as video
from anamodiff.video.canvas import fit
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.video.letterbox import crop_back, from_pixels, to_pixels
from anamodiff.video.sampling import ClipError


def shaded(count: int = 6, height: int = 48, width: int = 64) -> torch.Tensor:
    """A soft, coloured ball that moves over white."""
    rows, columns = np.mgrid[:height, :width]
    frames = []
    for index in range(count):
        distance = np.hypot(rows - height / 2, columns - 15 - 5 * index)
        ball = np.clip(1.5 - distance / 10, 0, 1)[..., None]
        colour = np.stack([columns / width, 0.3 + 0 * rows, rows / height], axis=-1)
        frames.append(1 - ball * (1 - colour))
    return torch.tensor(np.stack(frames) * 2 - 1).float().permute(0, 3, 1, 2)


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(-10 * torch.log10(((first - second) / 2).square().mean()))


@pytest.mark.parametrize(("name", "least"), [("a.mp4", 36), ("a.webm", 36), ("a.gif", 34)])
def test_round_trip(tmp_path, name, least):
    frames = shaded()
    path = write_video(tmp_path / "new" / name, frames, 12.5)
    clip = read_clip(path, frames=None)
    assert clip.frames.shape == frames.shape and clip.fps == pytest.approx(12.5, rel=0.01)
    assert psnr(clip.frames, frames) > least
    assert clip.frames[:, :, 0].min() > 0.96  # the ground stays white
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_flat_colours_come_back(tmp_path, suffix):
    colours = torch.tensor([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [0.2, -0.3, 0.7]]).float()
    frames = colours[:, :, None, None].expand(4, 3, 32, 32)
    clip = read_clip(write_video(tmp_path / f"a{suffix}", frames, 10), frames=None)
    assert (clip.frames - frames).abs().max() < 4 / 127.5


def test_odd_sizes_are_padded_by_one(tmp_path):
    frames = shaded(3, 33, 47)
    clip = read_clip(write_video(tmp_path / "a.mp4", frames, 8), frames=None)
    assert clip.frames.shape[-2:] == (34, 48)
    assert psnr(clip.frames[..., :33, :47], frames) > 34
    gif = read_clip(write_video(tmp_path / "a.gif", frames, 8), frames=None)
    assert gif.frames.shape[-2:] == (33, 47)


def test_mp4_is_h264_that_every_player_shows(tmp_path):
    import av

    path = write_video(tmp_path / "a.mp4", shaded(), 29.97)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.01)
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")


def test_drawn_gif_is_exact_loops_and_keeps_time(tmp_path):
    pictures = moving_square(9)
    path = write_video(tmp_path / "a.gif", from_pixels(pictures), 12)
    np.testing.assert_array_equal(to_pixels(read_clip(path, frames=None).frames), pictures)
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        durations = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
    assert set(durations) == {80, 90} and sum(durations) == 750


def test_gif_of_few_colours_is_exact(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (256, 3), dtype=np.uint8)
    pictures = colours[rng.integers(0, 256, (3, 32, 32))]
    path = write_video(tmp_path / "a.gif", from_pixels(pictures), 10)
    np.testing.assert_array_equal(to_pixels(read_clip(path, frames=None).frames), pictures)


def test_frames_out_of_range_are_clamped(tmp_path):
    frames = torch.full((2, 3, 16, 16), 1.7)
    frames[1] = -3
    clip = read_clip(write_video(tmp_path / "a.gif", frames, 5), frames=None)
    assert clip.frames[0].min() == 1 and clip.frames[1].max() == -1


def test_half_precision_frames_are_written(tmp_path):
    frames = from_pixels(moving_square(3))
    write_video(tmp_path / "a.gif", frames.bfloat16(), 5)
    write_video(tmp_path / "b.gif", frames.half().requires_grad_(), 5)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_the_same_frames_are_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    drawn = creatures.draw_pair(
        5, source_species="turtle", driving_species="rhino", motion="jump", frames=4, size=64
    ).source
    paths = [
        write_video(tmp_path / f"{n}{suffix}", from_pixels(drawn.frames), 8) for n in range(12)
    ]
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = write_video(tmp_path / f"a{suffix}", shaded(2), 5)
    before = path.read_bytes()

    def fail(unfinished, *_):
        unfinished.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video, "encode_video", fail)
    monkeypatch.setattr(video, "write_gif", fail)
    with pytest.raises(ClipError, match="No space left"):
        write_video(path, shaded(2), 5)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_write_frames_replaces_a_longer_clip(tmp_path):
    pictures = np.stack([numbered(i) for i in range(12)])
    write_frames(tmp_path / "frames", from_pixels(pictures))
    (tmp_path / "frames" / "mine.png").write_bytes(b"x")
    write_frames(tmp_path / "frames", from_pixels(pictures[3:6]))
    names = sorted(file.name for file in (tmp_path / "frames").iterdir())
    assert names == ["0000.png", "0001.png", "0002.png", "mine.png"]
    (tmp_path / "frames" / "mine.png").unlink()
    clip = read_clip(tmp_path / "frames", frames=None)
    np.testing.assert_array_equal(to_pixels(clip.frames), pictures[3:6])


def test_bytes_survive_the_way_to_frames_and_back():
    pictures = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    frames = from_pixels(pictures)
    assert frames.min() == -1 and frames.max() == 1
    np.testing.assert_array_equal(to_pixels(frames), pictures)


# Letterbox


@pytest.mark.parametrize(("height", "width"), [(48, 64), (100, 30), (7, 300), (64, 64), (9, 13)])
def test_the_picture_fills_the_canvas_one_way(height, width):
    box = fit(height, width, 64)
    assert max(box.height, box.width) == 64 and min(box.height, box.width) >= 1
    assert 0 <= box.top <= 64 - box.height and abs(64 - box.height - 2 * box.top) <= 1
    assert 0 <= box.left <= 64 - box.width and abs(64 - box.width - 2 * box.left) <= 1
    assert box.original == (height, width)


@pytest.mark.parametrize("ground", [(255, 255, 255), (40, 90, 160)])
@pytest.mark.parametrize(("height", "width"), [(96, 160), (160, 90), (50, 81)])
def test_letterbox_takes_the_grounds_colour_and_crop_back_inverts(tmp_path, ground, height, width):
    rows, columns = np.mgrid[:height, :width]
    ball = np.clip(1.5 - np.hypot(rows - height / 2, columns - width / 2) / 20, 0, 1)[..., None]
    picture = ball * (220, 60, 30) + (1 - ball) * ground
    Image.fromarray(picture.round().astype(np.uint8)).save(tmp_path / "a.png")
    clip = read_clip(tmp_path / "a.png", size=128)
    assert clip.frames.shape == (1, 3, 128, 128)
    colour = torch.tensor(ground) / 127.5 - 1
    assert clip.background == pytest.approx(colour.tolist(), abs=1e-6)
    corners = clip.frames[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, colour[:, None].expand(3, 4))
    back = crop_back(clip.frames, clip.box)
    assert back.shape[-2:] == (height, width)
    assert psnr(back, read_clip(tmp_path / "a.png").frames) > 38


def test_a_picture_of_the_canvas_size_is_untouched(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (32, 20, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    clip = read_clip(tmp_path / "a.png", size=32)
    np.testing.assert_array_equal(to_pixels(crop_back(clip.frames, clip.box))[0], picture)


def test_shrinking_does_not_alias(tmp_path):
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    assert read_clip(tmp_path / "a.png", size=64).frames.abs().max() < 0.02


def test_the_ground_is_the_border_of_all_frames(tmp_path):
    """A character that touches the border in places, or hides it in one frame, does not count."""
    pictures = np.full((5, 20, 40, 3), (250, 240, 200), dtype=np.uint8)
    pictures[:, 5:20, 3:12] = (0, 0, 0)
    pictures[2] = (0, 0, 0)
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    clip = read_clip(tmp_path, size=40)
    np.testing.assert_array_equal(to_pixels(clip.frames)[0, 0, 0], (250, 240, 200))


def test_crop_back_never_leaves_the_range():
    frames = torch.full((1, 3, 32, 32), 1.0)
    frames[..., 10:20, 10:20] = -1
    back = crop_back(frames, fit(60, 100, 32))
    assert back.min() >= -1 and back.max() <= 1


def test_crop_back_of_another_canvas():
    with pytest.raises(ClipError, match="expected frames of 32x32 pixels.*got 64x64"):
        crop_back(torch.zeros(1, 3, 64, 64), fit(60, 100, 32))


def test_repeated_frames_are_equal(tmp_path):
    for index in range(3):
        Image.fromarray(numbered(index)).save(tmp_path / f"{index}.png")
    assert numbers(read_clip(tmp_path, frames=7).frames) == [0, 0, 0, 1, 1, 2, 2]


_WRITER = """
import sys, torch
from anamodiff.video.clip import write_video
path, shade = sys.argv[1], float(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(8):
    write_video(path, torch.full((6, 3, 48, 64), shade), 10)
"""


def test_two_processes_write_one_file_and_nobody_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    words = [sys.executable, "-c", _WRITER, str(path)]
    writers = [
        subprocess.Popen([*words, shade], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for shade in ("-0.5", "0.5")
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            frames = read_clip(path, frames=None).frames
            assert len(frames) == 6 and min((frames - s).abs().max() for s in (-0.5, 0.5)) < 0.05
            seen += 1
    assert [writer.wait() for writer in writers] == [0, 0] and seen > 0
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
