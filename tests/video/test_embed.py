"""Clips that show themselves in a page: playable, small, and honest about alpha."""

import base64
import re
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from anamodiff.video import embed
from anamodiff.video.clip import Clip, read_clip
from anamodiff.video.embed import LIMIT, SIZES, clip_html, on_chequers
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.sampling import ClipError


def embedded(html: str) -> tuple[str, bytes]:
    """The kind and the bytes of the one file in an element."""
    ((kind, data),) = re.findall(r'src="data:([a-z/0-9]+);base64,([^"]+)"', html)
    return kind, base64.b64decode(data)


def moving(count: int, height: int = 48, width: int = 64) -> torch.Tensor:
    """A dark square that goes right, f 3 h w in [-1, 1]."""
    frames = torch.ones(count, 3, height, width)
    for index in range(count):
        frames[index, :, 16:32, 2 * index : 2 * index + 16] = -1
    return frames


def test_a_clip_plays_in_a_page(tmp_path: Path) -> None:
    frames = moving(10)
    kind, film = embedded(Clip.of(frames, 12.5)._repr_html_())
    assert kind == "video/mp4"
    (tmp_path / "clip.mp4").write_bytes(film)
    back = read_clip(tmp_path / "clip.mp4")
    assert back.fps == pytest.approx(12.5)
    assert (back.frames - frames).abs().mean() < 0.05


def test_one_frame_is_a_picture_without_loss() -> None:
    frames = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kind, picture = embedded(Clip.of(frames)._repr_html_())
    assert kind == "image/png"
    np.testing.assert_array_equal(iio.imread(picture), to_pixels(frames)[0])


def test_what_is_shown_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "SIZES", tuple((side // 4, most // 4) for side, most in SIZES))
    monkeypatch.setattr(embed, "LIMIT", LIMIT // 64)
    noise = np.random.default_rng(0).integers(0, 256, (64, 75, 375, 3), np.uint8)
    _, film = embedded(clip_html(noise, 10))
    assert 1000 < len(film) <= LIMIT // 64
    (tmp_path / "clip.mp4").write_bytes(film)
    back = read_clip(tmp_path / "clip.mp4", frames=None)
    assert len(back.frames) / back.fps == pytest.approx(6.4, rel=0.05)  # as long as it was
    height, width = back.frames.shape[-2:]
    assert width / height == pytest.approx(5, rel=0.1)


def test_wide_comparisons_stay_legible() -> None:
    sheet = np.full((1, 280, 1040, 3), 255, np.uint8)
    _, picture = embedded(clip_html(sheet, 10))
    assert iio.imread(picture).shape[1] > 900


def test_alpha_is_shown_on_chequers() -> None:
    picture = np.zeros((16, 32, 4), np.uint8)
    picture[:, :8] = (200, 10, 20, 255)
    shown = on_chequers(picture)
    assert (shown[:, :8] == (200, 10, 20)).all()
    assert len(np.unique(shown[:, 8:])) == 2
    kind, _ = embedded(clip_html([picture, picture], 10))
    assert kind == "video/mp4"


def test_captions_are_text() -> None:
    html = clip_html([np.zeros((8, 8, 3), np.uint8)], 10, "<script>a & b")
    assert "&lt;script&gt;a &amp; b" in html and "<script>" not in html


@pytest.mark.parametrize("fps", [0.0001, 1000.0])
def test_odd_rates_do_not_stop_an_encoder(fps: float) -> None:
    assert embedded(clip_html(list(to_pixels(moving(3))), fps))[1]


def test_frames_in_memory_are_a_clip() -> None:
    frames = moving(4, 64)
    clip = Clip.of(frames, 8)
    assert torch.equal(clip.frames, frames) and clip.fps == 8 and clip.path is None
    assert clip.box is not None and clip.background == (1, 1, 1)
    assert Clip.of(moving(4)).box is None  # only what fills a square canvas can be transferred
    assert repr(clip) == "<Clip: 4 frames of 64x64, 8 frames a second>"
    with pytest.raises(ClipError, match="f x 3 x h x w"):
        Clip.of(frames[0])
