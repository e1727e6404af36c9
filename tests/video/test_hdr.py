"""Pictures in PQ or HLG are shown as on a standard display."""

import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.error import FFmpegError

from anamodiff.video import hdr
from anamodiff.video.clip import read_clip
from anamodiff.video.letterbox import to_pixels
from anamodiff.video.sampling import ClipError

WHITE = 203.0  # cd/m2, that of standard pictures


def pq(light: float) -> int:
    """16 bits of so many cd/m2 (SMPTE ST 2084)."""
    root = (light / 10_000) ** 0.1593017578125
    return round(65535 * ((0.8359375 + 18.8515625 * root) / (1 + 18.6875 * root)) ** 78.84375)


@pytest.fixture
def picture() -> np.ndarray:
    """White, with a grey square of a fifth of its light: 16 bits ``64 64 3``."""
    pixels = np.full((64, 64, 3), pq(WHITE), np.uint16)
    pixels[16:48, 16:48] = pq(WHITE / 5)
    return pixels


def png(path: Path, pixels: np.ndarray, *chunks: bytes) -> Path:
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    more = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    path.write_bytes(data[:33] + more + data[33:])
    return path


def avif(path: Path, pixels: np.ndarray) -> Path:
    try:
        with av.open(str(path), "w", format="avif") as container:
            stream = container.add_stream("libsvtav1", 1, {"crf": "10"})
            stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p10le"
            colours = stream.codec_context
            colours.color_primaries = colours.colorspace = 9
            colours.color_trc, colours.color_range = 16, 1
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace="BT2020")
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (FFmpegError, ValueError) as error:
        pytest.skip(f"no avif encoder here: {error}")
    return path


@pytest.mark.parametrize("kind", ["png", "avif"])
def test_white_is_white_and_grey_is_as_dark_as_on_a_standard_display(
    picture: np.ndarray, kind: str, tmp_path: Path
) -> None:
    if kind == "png":
        path = png(tmp_path / "a.png", picture, b"cICP" + bytes([9, 16, 0, 1]))
    else:
        path = avif(tmp_path / "a.avif", picture)
    clip = read_clip(path)
    pixels = to_pixels(clip.frames)[0].astype(int)
    assert clip.total == 1 and pixels[4, 4].min() >= 252
    assert np.abs(pixels[32, 32] - 255 * 0.2 ** (1 / 2.4)).max() <= 4


def test_other_pictures_keep_their_values(picture: np.ndarray, tmp_path: Path) -> None:
    plain = png(tmp_path / "a.png", picture, b"cICP" + bytes([1, 13, 0, 1]))
    assert hdr.open_hdr(plain, "clip") is None
    grey = to_pixels(read_clip(plain).frames)[0, 32, 32]
    assert np.abs(grey.astype(int) - picture[32, 32] // 257).max() <= 1


def test_what_ffmpeg_cannot_open_is_left_to_pillow(
    picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise ClipError("no decoder")

    path = png(tmp_path / "a.png", picture, b"cICP" + bytes([9, 16, 0, 1]))
    monkeypatch.setattr(hdr, "open_video", refuses)
    assert read_clip(path).total == 1
