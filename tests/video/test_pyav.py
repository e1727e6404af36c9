"""Video files: the right frames, upright, in their colours, and no more than asked."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from video_samples import (
    encode_video,
    numbered,
    numbers,
    turn_clockwise,
)

from anamodiff.video import clip as video
from anamodiff.video import pyav, sampling
from anamodiff.video.clip import read_clip
from anamodiff.video.display import Display
from anamodiff.video.letterbox import to_pixels

# Video files


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("b.mp4", "libx264", {"g": "12", "bf": "3"}),
        ("open.mp4", "libx264", {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
        ("c.mkv", "libx264", {"g": "10", "bf": "2"}),
        ("d.webm", "libvpx-vp9", {"cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}),
        ("e.webm", "libvpx", {"cpu-used": "8", "lag-in-frames": "16", "auto-alt-ref": "1"}),
        ("f.avi", "libx264", {"g": "10", "bf": "2"}),
        ("g.avi", "mpeg4", {"g": "10"}),
        ("h.ts", "libx264", {"g": "10", "bf": "2"}),
        ("raw.h264", "libx264", {"g": "10", "bf": "2"}),
    ],
)
def test_video_gives_the_frames_it_names(tmp_path, name, codec, options):
    path = encode_video(tmp_path / name, [numbered(i) for i in range(60)], codec, options=options)
    for frames in (7, 10, None):
        clip = read_clip(path, frames=frames)
        count = frames or 60
        assert clip.total == 60 and clip.indices == tuple(i * 60 // count for i in range(count))
        assert numbers(clip.frames) == list(clip.indices)
        assert clip.fps == pytest.approx(count / 2.4, rel=0.01)


def test_a_long_video_keeps_and_converts_only_what_is_asked(tmp_path, monkeypatch):
    path = encode_video(
        tmp_path / "long.mp4",
        [numbered(i) for i in range(600)],
        options={"preset": "ultrafast", "g": "30"},
    )
    converted, decoded = [], []
    show, frames = Display.show, pyav._frames
    monkeypatch.setattr(Display, "show", lambda *a: converted.append(1) or show(*a))
    monkeypatch.setattr(
        pyav, "_frames", lambda *a: (decoded.append(1) or frame for frame in frames(*a))
    )
    clip = read_clip(path, frames=5, size=32)
    assert clip.total == 600 and len(converted) == 5
    assert len(decoded) < 5 * 31  # it seeks: at most one group of pictures for each frame


def test_more_frames_than_the_bound_are_thinned(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sampling, "MAX_FRAMES", 8)
    path = encode_video(tmp_path / "a.mp4", [numbered(i) for i in range(32)])
    assert numbers(read_clip(path, frames=None).frames) == list(range(0, 32, 4))
    assert "32 frames" in caplog.text


def test_uneven_times_are_respected(tmp_path):
    times = [0, 40, 80, 120, 160, 320, 480, 640, 680, 720]
    path = encode_video(tmp_path / "v.mkv", [numbered(i) for i in range(10)], times=times)
    clip = read_clip(path, frames=19)
    assert list(clip.indices) == [0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 8, 9]
    assert numbers(clip.frames) == list(clip.indices)


def test_a_film_turned_by_its_matrix_stands_upright(tmp_path):
    path = encode_video(tmp_path / "t.mp4", [numbered(i) for i in range(9)])
    turn_clockwise(path, 48)
    clip = read_clip(path, frames=3)
    assert clip.frames.shape[-2:] == (104, 48)
    back = torch.rot90(clip.frames, 1, (2, 3))
    assert numbers(back) == [0, 3, 6]


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparent_webm_lies_on_white(tmp_path, codec):
    picture = np.zeros((48, 64, 4), dtype=np.uint8)
    picture[..., :3] = (0, 200, 0)
    picture[10:30, 10:30] = (200, 40, 30, 255)
    path = encode_video(
        tmp_path / "a.webm",
        [picture] * 4,
        codec,
        pixels="yuva420p",
        options={"auto-alt-ref": "0"},
    )
    clip = to_pixels(read_clip(path).frames)
    assert np.abs(clip[0, 40, 50].astype(int) - 255).max() <= 3
    assert np.abs(clip[0, 20, 20].astype(int) - (200, 40, 30)).max() <= 6


def test_alpha_is_found_however_the_muxer_writes_the_word(tmp_path):
    picture = np.zeros((48, 64, 4), dtype=np.uint8)
    picture[10:30, 10:30] = (200, 40, 30, 255)
    path = encode_video(
        tmp_path / "a.webm", [picture] * 4, "libvpx-vp9", pixels="yuva420p",
        options={"auto-alt-ref": "0"},
    )  # fmt: skip
    with av.open(str(path)) as container:
        words = [word for word in container.streams.video[0].metadata if "alpha" in word.lower()]
    assert words
    stream = SimpleNamespace(metadata={words[0].swapcase(): "1"})
    assert pyav._has_alpha_plane(stream)  # pyright: ignore[reportArgumentType]
    clip = read_clip(path)
    assert clip.alpha is not None and clip.alpha[0, 40, 50] == 0


def test_films_in_hd_colours_keep_them(tmp_path):
    picture = np.broadcast_to(np.array([30, 200, 60], np.uint8), (48, 64, 3))
    path = encode_video(tmp_path / "hd.mp4", [picture] * 3, pixels="yuv444p", matrix=("ITU709", 1))
    assert (
        np.abs(to_pixels(read_clip(path).frames)[0, 20, 20].astype(int) - (30, 200, 60)).max() <= 3
    )


def test_a_stale_index_falls_back_to_counting(tmp_path, monkeypatch):
    """A reader that trusts packets is replaced by one that trusts decoded frames."""
    path = encode_video(tmp_path / "a.mp4", [numbered(i) for i in range(20)])
    listing = pyav._list_packets

    def shifted(path):
        index = listing(path)
        return pyav.Index(
            tuple(timestamp + 1 for timestamp in index.timestamps),
            index.keys,
            index.durations,
            index.promised,
            index.cut,
        )

    monkeypatch.setattr(pyav, "_list_packets", shifted)
    assert numbers(video.read_clip(path, frames=4).frames) == [0, 5, 10, 15]
