"""Animations, strips, folders of frames and stills."""

import numpy as np
import pytest
import torch
from PIL import Image
from video_samples import (
    encode_video,
    gif,
    moving_square,
    number,
    numbered,
    numbers,
)

from anamodiff.video import sampling
from anamodiff.video.clip import read_clip
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.strips import cut_strip

WHITE, RED, BLUE, GREEN = (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 255, 0)


def pixels_of(path, **options) -> np.ndarray:
    return to_pixels(read_clip(path, **{"frames": None, **options}).frames)


def save_all(path, pictures, **options):
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


# Animations


def full(index: int) -> np.ndarray:
    return np.full((6, 8), index)


@pytest.mark.parametrize("clear", [None, 3])
@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_gif_disposal(tmp_path, disposal, clear):
    frames = [
        {"pixels": full(1), "disposal": 1, "delay": 10, "clear": clear},
        {"pixels": full(2)[:3, :3], "at": (1, 1), "disposal": disposal, "delay": 10},
        {"pixels": [[2, 3], [3, 2]], "at": (4, 2), "delay": 10, "clear": clear},
    ]
    frames[1]["clear"] = clear
    (tmp_path / "a.gif").write_bytes(gif((8, 6), [WHITE, RED, BLUE, GREEN], frames))
    expected = np.empty((3, 6, 8, 3), dtype=np.uint8)
    expected[:] = RED
    expected[1, 1:4, 1:4] = BLUE
    left = {0: BLUE, 1: BLUE, 2: WHITE, 3: RED}[disposal]
    expected[2, 1:4, 1:4] = left
    expected[2, [2, 3], [4, 5]] = BLUE
    if clear is None:
        expected[2, [2, 3], [5, 4]] = GREEN
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.gif"), expected)


def test_gif_durations_make_the_rate_and_zero_is_a_tenth(tmp_path):
    frames = [{"pixels": full(1 + i % 2), "delay": d} for i, d in enumerate([5, 0, 1, 15])]
    (tmp_path / "a.gif").write_bytes(gif((8, 6), [WHITE, RED, BLUE], frames))
    clip = read_clip(tmp_path / "a.gif", frames=None)
    assert clip.fps == pytest.approx(4 / (0.05 + 0.1 + 0.1 + 0.15))


def test_gif_keeps_a_frames_time(tmp_path):
    frames = [{"pixels": full(i), "delay": d} for i, d in enumerate([10, 20, 10])]
    (tmp_path / "a.gif").write_bytes(gif((8, 6), [WHITE, RED, BLUE], frames))
    clip = read_clip(tmp_path / "a.gif", frames=8)
    assert clip.indices == (0, 0, 1, 1, 1, 1, 2, 2) and clip.fps == pytest.approx(20)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.gif", {"duration": 80}),
        ("a.webp", {"duration": 80, "lossless": True}),
        ("a.png", {"duration": 80}),
        ("stand-in.png", {"duration": 80, "default_image": True}),
    ],
)
def test_lossless_animations_are_exact(tmp_path, name, options):
    pictures = moving_square(9)
    first = pictures[:1] * 0 if "default_image" in options else pictures[:0]
    path = save_all(tmp_path / name, [*first, *pictures], **options)
    np.testing.assert_array_equal(pixels_of(path), pictures)
    clip = read_clip(path, frames=3)
    assert (clip.indices, clip.total, clip.fps) == ((0, 3, 6), 9, pytest.approx(3 / 0.72))
    np.testing.assert_array_equal(to_pixels(clip.frames), pictures[[0, 3, 6]])


def test_transparent_webp_lies_on_white(tmp_path):
    pictures = np.zeros((3, 20, 20, 4), dtype=np.uint8)
    for index in range(3):
        pictures[index, 5:10, index : index + 5] = (10, 20, 200, 128)
    path = save_all(tmp_path / "a.webp", pictures, lossless=True, duration=50)
    clip = pixels_of(path)
    assert (clip[:, 0] == 255).all()
    blended = np.round(np.array([10, 20, 200]) * 128 / 255 + 255 * 127 / 255)
    assert np.abs(clip[1, 7, 3] - blended).max() <= 1


# Strips, folders, stills


@pytest.mark.parametrize("axis", [0, 1])
def test_strip_is_cut_into_frames(tmp_path, axis):
    pictures = moving_square(7)
    Image.fromarray(np.concatenate(pictures, axis=axis)).save(tmp_path / "a.png")
    clip = read_clip(tmp_path / "a.png", frames=None)
    np.testing.assert_array_equal(to_pixels(clip.frames), pictures)
    assert clip.fps == sampling.DEFAULT_FPS and clip.total > 1


def test_strips_on_textured_or_graded_grounds_are_cut():
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    moving = np.where(moving_square(4) == 255, noise, moving_square(4)).astype(np.uint8)
    assert len(cut_strip(np.concatenate(list(moving), axis=1))) == 4
    sky = np.linspace(40, 240, 40, dtype=np.uint8)[:, None, None]
    frames = moving_square(5)
    graded = np.where(frames == 255, sky, frames).astype(np.uint8)
    assert len(cut_strip(np.concatenate(list(graded), axis=1))) == 5


def test_wide_pictures_stay_whole(tmp_path):
    rows, columns = np.mgrid[:40, :160]
    panorama = 120 + 60 * np.sin(columns / 31 + rows / 9) + 40 * np.sin(columns / 13)
    panorama = np.repeat(panorama.astype(np.uint8)[..., None], 3, axis=2)
    assert len(cut_strip(panorama)) == 1
    snake = np.full((40, 160, 3), 255, dtype=np.uint8)
    snake[15:25, 5:155] = (20, 140, 30)
    assert len(cut_strip(snake)) == 1
    two = np.concatenate(moving_square(2), axis=1)
    assert len(cut_strip(two)) == 1
    strip = np.concatenate(moving_square(6), axis=1)
    assert len(cut_strip(strip[:, :-1])) == 1
    Image.fromarray(strip).save(tmp_path / "a.jpg")
    assert read_clip(tmp_path / "a.jpg").total == 1


def test_folder_is_read_in_natural_order(tmp_path):
    for index in range(12):
        Image.fromarray(numbered(index)).save(tmp_path / f"f{index}.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("no picture")
    clip = read_clip(tmp_path, frames=6)
    assert numbers(clip.frames) == [0, 2, 4, 6, 8, 10] and clip.total == 12
    assert clip.fps == pytest.approx(5)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.tif"])
def test_still_gives_one_frame(tmp_path, name):
    Image.fromarray(numbered(5)).save(tmp_path / name, **({"lossless": True}))
    clip = read_clip(tmp_path / name, frames=10)
    assert clip.total == 1 and clip.indices == (0,) and len(clip.frames) == 1
    np.testing.assert_array_equal(to_pixels(clip.frames)[0], numbered(5))
    assert clip.frames.dtype == torch.float32 and clip.frames.is_contiguous()


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_one_frame_animation_is_a_picture(tmp_path, name):
    if name == "a.mp4":
        encode_video(tmp_path / name, [numbered(3)])
    else:
        Image.fromarray(numbered(3)).save(tmp_path / name)
    clip = read_clip(tmp_path / name)
    assert clip.total == 1 and number(clip.frames[0]) == 3


def still_in(mode: str) -> Image.Image:
    """A picture half (200, 100, 50), half white, in a Pillow mode."""
    picture = np.full((8, 8, 3), 255, dtype=np.uint8)
    picture[:, :4] = (200, 100, 50)
    if mode == "I;16":
        return Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    if mode == "P+clear":
        image = Image.fromarray(picture).quantize(4)
        image.info["transparency"] = image.getpixel((6, 0))
        return image
    if mode in ("RGBA", "LA"):
        image = Image.fromarray(picture).convert("L").convert(mode) if mode == "LA" else None
        image = image or Image.fromarray(picture).convert(mode)
        image.putalpha(Image.fromarray(np.where(picture[..., 2] == 50, 255, 0).astype(np.uint8)))
        return image
    return Image.fromarray(picture).convert(mode)


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        ("RGB", "a.png", (200, 100, 50)),
        ("RGBA", "a.png", (200, 100, 50)),
        ("P", "a.png", (200, 100, 50)),
        ("P+clear", "a.png", (200, 100, 50)),
        ("L", "a.png", (124, 124, 124)),
        ("LA", "a.png", (124, 124, 124)),
        ("1", "a.png", None),
        ("I;16", "a.png", (200, 200, 200)),
        ("CMYK", "a.jpg", (200, 100, 50)),
        ("CMYK", "a.tif", (200, 100, 50)),
    ],
)
def test_every_kind_of_pixel(tmp_path, mode, name, expected):
    still_in(mode).save(tmp_path / name)
    picture = pixels_of(tmp_path / name)[0].astype(int)
    assert np.abs(picture[4, 6] - 255).max() <= 1
    if expected:
        assert np.abs(picture[4, 1] - expected).max() <= 4


def test_sixteen_bit_colour(tmp_path):
    import cv2

    colour = np.full((6, 6, 3), (50 * 257, 100 * 257, 200 * 257), dtype=np.uint16)  # BGR
    cv2.imwrite(str(tmp_path / "a.png"), colour)
    assert np.abs(pixels_of(tmp_path / "a.png")[0, 0, 0].astype(int) - (200, 100, 50)).max() <= 1


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_orientation_is_applied(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    Image.fromarray(numbered(9)).save(tmp_path / name, exif=exif, quality=95)
    frames = read_clip(tmp_path / name).frames
    assert frames.shape[-2:] == (104, 48)
    assert number(torch.rot90(frames[0], 1, (1, 2))) == 9
