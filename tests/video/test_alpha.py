"""Clips with an alpha channel: written, and read again by other readers."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from anamodiff.video.alpha import write_alpha, write_alpha_frames
from anamodiff.video.clip import read_clip
from anamodiff.video.sampling import ClipError


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """A red box that moves right on nothing; its upper half is half transparent. 3 frames."""
    clip = torch.ones(3, 4, 48, 62)
    clip[:, 3] = -1
    for number in range(3):
        box = (number, slice(None), slice(8, 40), slice(10 + 6 * number, 40 + 6 * number))
        clip[box] = torch.tensor([0.8, -0.7, -0.7, 1.0]).view(4, 1, 1)
        clip[number, 3, 8:24, 10 + 6 * number : 40 + 6 * number] = 0.0
    return clip


@pytest.mark.parametrize("suffix", [".webp", ".apng", ".png"])
def test_animations_keep_colours_and_alpha(frames: torch.Tensor, suffix: str, tmp_path) -> None:
    path = write_alpha(tmp_path / f"clip{suffix}", frames, 8.0)
    with Image.open(path) as image:
        assert image.n_frames == 3
        for number in range(3):
            image.seek(number)
            pixels = torch.from_numpy(np.array(image.convert("RGBA"))).movedim(-1, 0)
            assert image.info["duration"] == 125
            expected = ((frames[number] + 1) * 127.5).round()
            shown = expected[3] > 0
            assert (pixels[3] - expected[3]).abs().max() <= 1
            assert (pixels - expected)[:, shown].abs().max() <= 1
    assert list(tmp_path.iterdir()) == [path]


def test_webm_holds_alpha(frames: torch.Tensor, tmp_path) -> None:
    path = write_alpha(tmp_path / "clip.webm", frames, 8.0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.metadata["alpha_mode"] == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        pictures = [
            frame.to_ndarray(format="rgba")
            for packet in container.demux(stream)
            for frame in decoder.decode(packet)
        ]
    assert len(pictures) == 3
    assert pictures[2][45, 5, 3] < 8 and pictures[2][30, 35, 3] > 247
    assert abs(int(pictures[2][16, 35, 3]) - 128) < 10
    # Our own reader sets it on white.
    shown = read_clip(path).frames
    assert (shown[2, :, 30, 35] - torch.tensor([0.8, -0.7, -0.7])).abs().max() < 0.12
    assert shown[2, :, 45, 5].min() > 0.95


def test_a_gif_holds_one_bit_of_it(frames: torch.Tensor, tmp_path) -> None:
    path = write_alpha(tmp_path / "clip.gif", frames, 10.0)
    with Image.open(path) as image:
        assert image.n_frames == 3
        for number in range(3):
            image.seek(number)
            alpha = np.array(image.convert("RGBA"))[..., 3]
            assert np.array_equal(alpha > 0, frames[number, 3].numpy() > -0.5)


def test_mp4_is_refused_and_leaves_nothing(frames: torch.Tensor, tmp_path) -> None:
    with pytest.raises(ClipError, match="expected a name that ends in .webm"):
        write_alpha(tmp_path / "clip.mp4", frames, 10.0)
    assert not any(tmp_path.iterdir())


def test_frames_are_pngs_with_alpha(frames: torch.Tensor, tmp_path) -> None:
    (tmp_path / "0003.png").touch()
    (tmp_path / "notes.txt").touch()
    write_alpha_frames(tmp_path, frames)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0000.png", "0001.png", "0002.png", "notes.txt"]
    with Image.open(tmp_path / "0002.png") as image:
        assert image.mode == "RGBA" and image.getpixel((0, 0)) == (255, 255, 255, 0)
