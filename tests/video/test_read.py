"""Which frames are chosen, what a folder of clips holds, and real files."""

import numpy as np
import pytest
from PIL import Image
from video_samples import (
    encode_video,
    moving_square,
    numbered,
)

from anamodiff.video import sampling
from anamodiff.video.clip import read_clip
from anamodiff.video.find import find_clips, look_for_clips
from anamodiff.video.sampling import sample_indices


def save_all(path, pictures, **options):
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


# Which frames


@pytest.mark.parametrize(("total", "frames"), [(20, 10), (24, 10), (7, 7), (3, 10), (2, 5)])
def test_steady_frames_are_taken_at_even_steps(total, frames):
    expected = tuple(i * total // frames for i in range(frames))
    assert sample_indices([0.04] * total, frames) == expected


def test_all_frames_up_to_the_bound():
    assert sample_indices([0.1] * 30, None) == tuple(range(30))
    assert len(sample_indices([0.1] * 5000, None)) == sampling.MAX_FRAMES


def test_one_picture_is_never_repeated():
    assert sample_indices([0.1], 10) == (0,)


def test_long_frames_are_taken_more_often():
    assert sample_indices([0.1, 0.1, 0.4, 0.1, 0.1], 8) == (0, 1, 2, 2, 2, 2, 3, 4)


def test_a_pause_at_the_end_does_not_eat_the_motion():
    chosen = sample_indices([0.05] * 11 + [3.0], 10)
    assert len(set(chosen)) >= 8 and sampling.sampled_fps([0.05] * 11 + [3.0], 10) > 10


def test_rounded_clocks_count_as_steady():
    webm = np.diff(np.round(np.arange(25) * 1000 / 24)) / 1000  # milliseconds at 24 a second
    assert sample_indices(webm, 12) == tuple(range(0, 24, 2))
    gif = np.diff(np.round(np.arange(41) * 100 / 40)) / 100  # hundredths at 40 a second
    assert sample_indices(gif, 10) == tuple(range(0, 40, 4))


def test_rounded_clocks_do_not_skip_frames_beside_a_long_one():
    durations = [0.042, 0.041, 0.042, 0.042, 0.041, 0.042, 0.125]
    assert sample_indices(durations, 9) == (0, 1, 2, 3, 4, 5, 6, 6, 6)


# Folders of clips, and the real files


def test_find_clips(tmp_path):
    encode_video(tmp_path / "b10.mp4", [numbered(0)] * 2)
    encode_video(tmp_path / "b9.mp4", [numbered(0)] * 2)
    save_all(tmp_path / "c.gif", moving_square(3))
    save_all(tmp_path / "d.webp", moving_square(3))
    Image.fromarray(np.concatenate(moving_square(4), axis=1)).save(tmp_path / "e.png")
    Image.fromarray(numbered(1)).save(tmp_path / "still.png")
    (tmp_path / ".f.mp4").write_bytes(b"x")
    (tmp_path / "read me.txt").write_text("hello")
    (tmp_path / "frames").mkdir()
    (tmp_path / "more").mkdir()
    for index in range(3):
        Image.fromarray(numbered(index)).save(tmp_path / "frames" / f"{index}.png")
    encode_video(tmp_path / "more" / "g.webm", [numbered(0)] * 2, "libvpx")
    found = [str(path.relative_to(tmp_path)) for path in find_clips(tmp_path)]
    assert found == ["b9.mp4", "b10.mp4", "c.gif", "d.webp", "e.png", "frames", "more/g.webm"]
    assert find_clips(tmp_path / "frames") == [tmp_path / "frames"]


def test_what_is_no_clip_is_named_with_its_reason(tmp_path):
    """Whatever is no text and no still is looked into: suffixes are many."""
    encode_video(tmp_path / "a.mts", [numbered(0)] * 2, container={"f": "mpegts"})
    encode_video(tmp_path / "plain.mkv", [numbered(0)] * 2).rename(tmp_path / "no suffix")
    Image.fromarray(numbered(1)).save(tmp_path / "still.png")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.bin").touch()
    (tmp_path / ".hidden").write_bytes(b"x\0")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / "sound.mp3").write_bytes(b"ID3\4\0\0\0\0\0\0" + bytes(range(128, 256)))
    (tmp_path / "frames").mkdir()
    for index in range(3):
        Image.fromarray(numbered(index)).save(tmp_path / "frames" / f"{index}.png")
    (tmp_path / "frames" / "about.txt").write_text("hello")
    found = look_for_clips(tmp_path)
    assert [path.name for path in found.clips] == ["a.mts", "frames", "no suffix", "sound.mp3"]
    reasons = {path.name: reason for path, reason in found.left_out.items()}
    assert reasons == {"still.png": "one picture", "notes.txt": "text", "empty.bin": "text",
                       "about.txt": "text"}  # fmt: skip


def test_real_clips(shared):
    totals = {
        "butterfly-strip.png": 12,
        "butterfly.gif": 36,
        "flag.gif": 37,
        "horse-alpha.webp": 36,
        "kangaroo-still.png": 1,
        "kangaroo.gif": 24,
        "letter-m.mp4": 24,
        "runner.mp4": 36,
        "tiger": 19,
    }
    for name, total in totals.items():
        clip = read_clip(shared / "clips" / "real" / name, frames=5, size=64)
        assert clip.total == total and len(clip.frames) == (1 if total == 1 else 5)
        assert clip.background == pytest.approx((1, 1, 1), abs=0.02)
        assert clip.frames.std() > 0.05
    found = find_clips(shared / "clips" / "real")
    assert [path.name for path in found] == [name for name in totals if totals[name] > 1]
