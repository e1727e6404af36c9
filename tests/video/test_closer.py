"""A square of a canvas, read anew from the file: in its place, and sharper."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff.matting.zoom import Zoom
from anamodiff.video import closer
from anamodiff.video.clip import read_clip, write_frames, write_video
from anamodiff.video.closer import read_closer
from anamodiff.video.letterbox import from_pixels


def pictures(height: int = 360, width: int = 480) -> np.ndarray:
    """Waves that a canvas of 96 pixels still shows, ``3 h w 3``."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(2 * np.pi * (8 * x + 5 * y + k / 3)) for k in range(3)]
    frame = np.stack(waves, -1)
    return np.stack([np.uint8(127 + 90 * np.roll(frame, 4 * n, axis=1)) for n in range(3)])


@pytest.mark.parametrize("kind", ["folder", "a.mp4", "a.gif"])
@pytest.mark.parametrize("square", [(30, 20, 40), (0, 40, 30), (5, 5, 91)])
def test_it_shows_the_same_place(tmp_path: Path, kind: str, square) -> None:
    path = tmp_path / kind
    if kind == "folder":
        write_frames(path, from_pixels(pictures()))
    else:
        write_video(path, from_pixels(pictures()), 8)
    clip = read_clip(path, frames=4, size=96)  # of three frames one is twice there
    found = read_closer(clip, *square)
    assert found is not None and found.box is None and found.frames.shape == clip.frames.shape
    enlarged = Zoom(*square).enter(clip.frames)
    apart = (found.frames - enlarged).abs()[..., 4:-4, 4:-4].mean()
    shifted = (found.frames.roll(3, -1) - enlarged).abs()[..., 4:-4, 4:-4].mean()
    assert apart < 0.06 and apart < 0.5 * shifted


def test_a_turned_photo_is_cut_where_it_is_seen(tmp_path: Path) -> None:
    image = Image.fromarray(pictures()[0])
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    clip = read_clip(tmp_path / "a.jpg", size=96)
    found = read_closer(clip, 10, 20, 40)
    assert found is not None
    assert (found.frames - Zoom(10, 20, 40).enter(clip.frames)).abs().mean() < 0.06


def test_alpha_is_read_from_near_too(tmp_path: Path) -> None:
    picture = np.zeros((400, 400, 4), np.uint8)
    picture[200:280, 100:180] = (200, 30, 30, 255)
    Image.fromarray(picture).save(tmp_path / "a.png")
    clip = read_clip(tmp_path / "a.png", size=50)
    found = read_closer(clip, 20, 5, 25)
    assert found is not None and found.alpha is not None
    truth = torch.zeros(50, 50)
    truth[10:30, 15:35] = 1
    assert (found.alpha[0] - truth).abs().mean() < 0.01


def test_the_first_frame_of_a_clip_is_read_alone(tmp_path: Path) -> None:
    rgba = np.concatenate([pictures(), np.full((3, 360, 480, 1), 99, np.uint8)], axis=-1)
    (tmp_path / "a").mkdir()
    for number, picture in enumerate(rgba):
        Image.fromarray(picture).save(tmp_path / "a" / f"{number}.png")
    whole = read_clip(tmp_path / "a", size=96)
    first = whole.first()
    assert first.alpha is not None and len(first.frames) == len(first.alpha) == 1
    found = read_closer(first, 30, 20, 40)
    assert found is not None and found.alpha is not None
    assert len(found.frames) == len(found.alpha) == 1
    # Frames that somebody chose by hand are not those that the clip's numbers say.
    assert read_closer(replace(whole, frames=whole.frames[:1]), 30, 20, 40) is None


def test_there_is_nothing_to_gain_of_a_file_of_the_canvas_s_size(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", from_pixels(pictures(90, 96)))
    assert read_closer(read_clip(tmp_path / "a", size=96), 10, 10, 40) is None


def test_a_file_that_is_gone_or_another_one_now_is_not_read(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", from_pixels(pictures()))
    clip = read_clip(tmp_path / "a", size=96)
    (tmp_path / "a" / "0002.png").unlink()
    assert read_closer(clip, 10, 10, 40) is None
    for left in (tmp_path / "a").iterdir():
        left.unlink()
    assert read_closer(clip, 10, 10, 40) is None


def test_a_header_that_counts_wrongly_is_passed_over(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.gif"
    write_video(path, from_pixels(pictures()), 8)
    clip = read_clip(path, frames=3, size=96)
    expected = read_closer(clip, 30, 20, 40)
    right = closer.open_clip(path, "clip")
    wrong = replace(right, durations=(*right.durations, 0.1), recount=lambda: right)
    monkeypatch.setattr(closer, "open_clip", lambda *_: wrong)
    found = read_closer(clip, 30, 20, 40)
    assert found is not None and expected is not None
    assert torch.equal(found.frames, expected.frames)
    never = replace(wrong, recount=None)
    monkeypatch.setattr(closer, "open_clip", lambda *_: never)
    assert read_closer(clip, 30, 20, 40) is None
